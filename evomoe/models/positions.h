#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>

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

/// How far rotary positions turn the queries and keys of some tokens (RoFormer, arXiv 2104.09864).
struct Rotation {
  torch::Tensor cosine_BS1C, sine_BS1C;  ///< C = D/2, half the width of a head; B may be 1
};

/// The frequencies of rotary positions, and how they are stretched for longer sequences than a
/// model was trained on. Names and formulas are those of transformers' `rope_parameters`.
struct RotaryOptions {
  double base = 10000;              ///< of D/2 frequencies base^(-2j/D)
  std::string scaling = "default";  ///< default: none | linear: divided by factor | llama3
  double factor = 1;
  /// llama3: frequencies of fewer than low_factor turns in original_positions are divided by
  /// factor, those of more than high_factor are not, and those between are in part.
  double low_factor = 1, high_factor = 4;
  int64_t original_positions = 8192;

  /// UsageError for numbers that no frequency comes of.
  void validate() const;
};

/// How far each pair of numbers turns from one position to the next: float64 [D/2].
torch::Tensor rotary_frequencies(const RotaryOptions& options, int64_t head_dim);

/// Of tokens at position_BS (int64 [B,S], from 0): number j turns by position times its frequency.
/// `head_dim` D is even; type and device are those of `like`.
Rotation rotation_of(const torch::Tensor& position_BS, int64_t head_dim,
                     const RotaryOptions& options, const torch::Tensor& like);

/// x_BHSD turned: number j and number j + D/2 of a head are a pair (as in GPT-NeoX and Llama).
torch::Tensor rotated(const torch::Tensor& x_BHSD, const Rotation& rotation);

}  // namespace evomoe
