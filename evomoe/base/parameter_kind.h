#pragma once

#include <optional>
#include <string>
#include <vector>

namespace evomoe {

/// What a parameter of a model is. The module that owns it says so (models/parameter_kinds.h);
/// optimisers and learning-rate factors go by it.
enum class ParameterKind {
  kExpert,     ///< weights and biases of experts, stacked: the first axis counts the experts
  kRouter,     ///< of a router: its gate weight and what else it learns
  kEmbedding,  ///< tables of tokens and positions
  kHead,       ///< what turns features into tokens or classes
  kNorm,       ///< gains and biases of norms
  kBias,       ///< vectors of everything else: biases of attention and dense feed-forward blocks
  kMatrix,     ///< matrices of everything else: attention and dense feed-forward blocks
};

/// expert, router, embedding, head, norm, bias, matrix.
std::string parameter_kind_name(ParameterKind kind);
const std::vector<std::string>& parameter_kind_names();
/// Nothing: no kind has this name.
std::optional<ParameterKind> parse_parameter_kind(const std::string& name);

}  // namespace evomoe
