#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "evomoe/base/position_kind.h"

namespace evomoe {

class OptionTable;
struct ModelOptions;

/// What a `--arch` name stands for (docs/reference.md sections 7.2 to 7.4). The two halves of an
/// encoder-decoder have the same dimensions.
struct Architecture {
  std::string name;
  std::string family = {};  ///< its FamilyDeclaration's name
  int layers = 6;
  int embed_dim = 512;
  int ffn_dim = 2048;
  int heads = 8;
  std::string activation = "relu";
  PositionKind positions = PositionKind::kSinusoidal;
  double dropout = 0.1;
  double attention_dropout = 0.0;
  double activation_dropout = 0.0;
  bool tied = false;                  ///< forces tied input and output embeddings
  bool norm_first = true;             ///< pre-LN
  bool embedding_norm = false;        ///< a layer norm on the embeddings
  bool final_norm = true;             ///< with pre-LN: a layer norm after the last layer
  std::vector<int64_t> cutoffs = {};  ///< of adaptive input and softmax; empty: neither
  double adaptive_softmax_dropout = 0.0;
};

/// What the options know of a family of models. Its models are made by train/model_family.h.
struct FamilyDeclaration {
  std::string name;   ///< "language_model"
  std::string words;  ///< as an error message names one of its models: "a language model"
  std::string task;   ///< the --task of its architectures where none is given
  bool encoder = false, decoder = false;  ///< the halves that its models have
  /// Describes the options that its models alone have.
  void (*describe)(OptionTable& table, ModelOptions& options) = nullptr;
  std::vector<Architecture> architectures;
};

/// All families. A new one is its file in config/families, its file in train/families, and a line
/// in config/families/list.h.
const std::vector<const FamilyDeclaration*>& family_declarations();

/// The family of this name; an Error when there is none.
const FamilyDeclaration& family_declaration(const std::string& name);

/// Looks up an architecture. Unknown names are a UsageError that lists the known ones.
const Architecture& find_architecture(const std::string& name);

/// The names of a family, or of all.
std::vector<std::string> architecture_names();
std::vector<std::string> architecture_names(const FamilyDeclaration& family);

}  // namespace evomoe
