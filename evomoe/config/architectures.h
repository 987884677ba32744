#pragma once

#include <string>
#include <vector>

namespace evomoe {

enum class ModelFamily { kLanguageModel, kRoberta, kEncoderDecoder };

/// What a `--arch` name stands for (reference/evomoe.md sections 7.2 to 7.4). The two halves of an
/// encoder-decoder have the same dimensions.
struct Architecture {
  std::string name;
  ModelFamily family;
  int layers, embed_dim, ffn_dim, heads;
  std::string activation;
  bool learned_positions;
  double dropout, attention_dropout, activation_dropout;
  bool tied = false;                  ///< forces tied input and output embeddings
  bool norm_first = true;             ///< pre-LN
  bool embedding_norm = false;        ///< a layer norm on the embeddings
  bool final_norm = true;             ///< with pre-LN: a layer norm after the last layer
  std::vector<int64_t> cutoffs = {};  ///< of adaptive input and softmax; empty: neither
  double adaptive_softmax_dropout = 0.0;
};

/// Looks up an architecture. Unknown names are a UsageError that lists the known ones.
const Architecture& find_architecture(const std::string& name);

/// The names of a family, or of all.
std::vector<std::string> architecture_names();
std::vector<std::string> architecture_names(ModelFamily family);

/// The --task that a family is made for, and the family of a task.
std::string task_of_family(ModelFamily family);
ModelFamily family_of_task(const std::string& task);

/// The family as an error message names it: "a language model".
std::string family_words(ModelFamily family);

}  // namespace evomoe
