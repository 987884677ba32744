#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "evomoe/routing/router.h"

namespace evomoe {

/// What a router does in evaluation: each token uses its most probable experts, and none is
/// dropped.
struct EvaluationTopk {
  int64_t k = 1;
  bool normalized = false;  ///< their probabilities are divided by their sum
};

/// Nothing where it does anything else; `why_not` then says what it would have to be. Many methods
/// differ in training only: without noise and capacity `switch` is the most probable expert, and so
/// is `dts` after its dense-to-sparse stage.
std::optional<EvaluationTopk> evaluation_topk(const RouterOptions& router,
                                              std::string* why_not = nullptr);

}  // namespace evomoe
