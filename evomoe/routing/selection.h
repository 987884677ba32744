#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>

/// What several methods need to choose experts.
namespace evomoe {

/// The experts with the k largest scores of each token, int64 [T,K], the largest first. Among equal
/// ones the lowest expert wins, on every device.
torch::Tensor largest(const torch::Tensor& score_TE, int64_t k);

/// bool [T,E], true at the experts expert_TK of each token.
torch::Tensor selection_mask(const torch::Tensor& expert_TK, int64_t num_experts);

/// The selection of those rows alone that are true in rows_T (undefined: of all).
torch::Tensor only_rows(const torch::Tensor& selected_TE, const torch::Tensor& rows_T);

/// The mean of value_T over the valid tokens (undefined: all); 0 of none.
torch::Tensor mean_of_valid(const torch::Tensor& value_T, const torch::Tensor& valid_T);

/// UsageError: k, the value of --moe-k, is not 1 to `most`.
void check_experts_per_token(int64_t k, int64_t most);

}  // namespace evomoe
