#pragma once

#include <torch/torch.h>

#include <string>
#include <utility>
#include <vector>

#include "evomoe/routing/routing.h"

namespace evomoe {

using ReferenceMetrics = std::vector<std::pair<std::string, torch::Tensor>>;

/// Appends the reference's histogram metrics of one choice: unused_{name}_count,
/// {name}_balance_top, {name}_balance_bottom. `expert_T` int64 [T], before drops and with padding
/// rows; `name` is "expert1" or "expert2".
void append_histogram_metrics(ReferenceMetrics& metrics, const std::string& name,
                              const torch::Tensor& expert_T, int64_t num_experts);

}  // namespace evomoe
