#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "evomoe/base/philox.h"

namespace evomoe {

/// Dropout whose mask comes from counter-based noise: element c of token t is kept iff the uniform
/// number at (t, c) is >= `probability`, and is then multiplied by 1 / (1 - probability).
/// x [..., C] is seen as rows [tokens, C]; `token_N` int64 [rows] on x's device names the token of
/// each row, undefined: they are numbered. The mask is made again in the backward pass, so nothing
/// is kept for it. Probability 0 returns x itself. Error: a probability outside [0, 1), x without
/// axes, another number of tokens than rows.
torch::Tensor philox_dropout(const torch::Tensor& x, double probability, const NoiseKey& key,
                             const torch::Tensor& token_N = {});

/// The same in place and off the graph, for chosen rows and columns that start at block
/// `first_block` (of four columns): x [N, C] contiguous, `token_N` int64 [N] on x's device names
/// the token of each row.
void philox_dropout_rows_(torch::Tensor& x_NC, const torch::Tensor& token_N, int64_t first_block,
                          double probability, const NoiseKey& key);

/// Throws unless 0 <= probability < 1; `name` is what the message calls it.
void check_dropout_probability(double probability, const char* name);

}  // namespace evomoe
