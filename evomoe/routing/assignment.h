#pragma once

#include <torch/torch.h>

#include <cstdint>

/// Balanced assignments: each expert gets as many tokens as any other, and the sum of the scores of
/// the chosen pairs is large.
namespace evomoe {

/// The expert of each token, int64 [T], by the auction of fairseq's BASE layers (arXiv 2103.16716):
/// near the best sum. Each expert gets T/E tokens; where E does not divide T, T/E rounded up or
/// down. Scores that are not finite count as the smallest.
torch::Tensor auction_assignment(const torch::Tensor& score_TE);

/// The same with the best sum there is; ceil(T/E) tokens an expert at most. On the CPU.
torch::Tensor optimal_assignment(const torch::Tensor& score_TE);

}  // namespace evomoe
