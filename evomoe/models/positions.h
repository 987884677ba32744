#pragma once

#include <torch/torch.h>

namespace evomoe {

/// Positions of rows that are padded on the right or the left: the t-th token (t from 1) of a row
/// has position padding_index + t, padding has padding_index. `first` tokens came before
/// (incremental decoding). Returns int64 [B,S].
///
/// `segment_BS` (ForwardContext), where it is defined: t counts from the segment's first token.
torch::Tensor positions_of(const torch::Tensor& token_BS, const torch::Tensor& padding_BS,
                           int64_t padding_index, int64_t first,
                           const torch::Tensor& segment_BS = {});

/// The sinusoidal table [rows, dim] of fairseq: sines, then cosines, frequencies exp(-j ln(10000) /
/// (dim/2 - 1)); the row of padding_index is zero.
torch::Tensor sinusoidal_table(int64_t rows, int64_t dim, int64_t padding_index);

}  // namespace evomoe
