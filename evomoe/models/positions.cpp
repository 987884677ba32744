#include "evomoe/models/positions.h"

#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/ops/rotation.h"

namespace evomoe {

torch::Tensor positions_of(const torch::Tensor& token_BS, const torch::Tensor& padding_BS,
                           int64_t padding_index, int64_t first, const torch::Tensor& segment_BS) {
  if (segment_BS.defined()) {
    const auto column_S = torch::arange(segment_BS.size(1), segment_BS.options());
    const auto begins_BS = torch::ones_like(segment_BS, torch::kBool);
    begins_BS.slice(1, 1).copy_(segment_BS.slice(1, 1).ne(segment_BS.slice(1, 0, -1)));
    const auto begin_BS = std::get<0>((column_S * begins_BS).cummax(1));
    return (column_S - begin_BS + 1) * segment_BS.ne(0) + padding_index;
  }
  if (padding_BS.defined() && padding_BS.size(1) > 0) {
    const auto real_BS = padding_BS.logical_not();
    return (real_BS.cumsum(1) + first) * real_BS + padding_index;
  }
  const auto position_S = torch::arange(token_BS.size(1), token_BS.options().dtype(torch::kLong)) +
                          (padding_index + 1 + first);
  return position_S.unsqueeze(0).expand(token_BS.sizes());
}

torch::Tensor sinusoidal_table(int64_t rows, int64_t dim, int64_t padding_index) {
  const auto half = dim / 2;
  const double step = std::log(10000.0) / static_cast<double>(std::max<int64_t>(half - 1, 1));
  const auto frequency = torch::exp(torch::arange(half, torch::kFloat) * -step);
  const auto angle = torch::arange(rows, torch::kFloat).unsqueeze(1) * frequency.unsqueeze(0);
  auto table = torch::cat({torch::sin(angle), torch::cos(angle)}, 1);
  if (dim % 2 == 1) table = torch::cat({table, torch::zeros({rows, 1})}, 1);
  if (padding_index >= 0 && padding_index < rows) table[padding_index].zero_();
  return table;
}

void RotaryOptions::validate() const {
  if (!(base > 0)) fail_usage("--rotary-base {}: must be above 0", base);
  if (scaling != "default" && scaling != "linear" && scaling != "llama3")
    fail_usage("--rotary-scaling {}: allowed are default, linear, llama3", scaling);
  if (!(factor > 0)) fail_usage("--rotary-factor {}: must be above 0", factor);
  if (scaling == "default" && factor != 1)
    fail_usage("--rotary-factor {} needs --rotary-scaling linear or llama3", factor);
  if (scaling != "llama3") return;
  if (!(low_factor > 0 && high_factor > low_factor)) {
    fail_usage(
        "--rotary-low-factor {} with --rotary-high-factor {}: the first must be above 0, and the "
        "second above the first",
        low_factor, high_factor);
  }
  if (original_positions < 1)
    fail_usage("--rotary-original-positions must be at least 1, not {}", original_positions);
}

torch::Tensor rotary_frequencies(const RotaryOptions& options, int64_t head_dim) {
  const auto exponent_C =
      torch::arange(head_dim / 2, torch::kFloat64) * (-2.0 / static_cast<double>(head_dim));
  const auto frequency_C = torch::pow(options.base, exponent_C);
  if (options.scaling == "default") return frequency_C;
  const auto slower_C = frequency_C / options.factor;
  if (options.scaling == "linear") return slower_C;
  const auto turns_C = frequency_C * (static_cast<double>(options.original_positions) / (2 * M_PI));
  const auto kept_C =
      ((turns_C - options.low_factor) / (options.high_factor - options.low_factor)).clamp(0, 1);
  return slower_C + kept_C * (frequency_C - slower_C);
}

Rotation rotation_of(const torch::Tensor& position_BS, int64_t head_dim,
                     const RotaryOptions& options, const torch::Tensor& like) {
  // In float64: the angle of a late position has no digits left for its fraction in float32.
  const auto angle_BS1C = position_BS.to(torch::kFloat64).unsqueeze(-1).unsqueeze(-1) *
                          rotary_frequencies(options, head_dim).to(like.device());
  return {torch::cos(angle_BS1C).to(like.scalar_type()),
          torch::sin(angle_BS1C).to(like.scalar_type())};
}

torch::Tensor rotated(const torch::Tensor& x_BHSD, const Rotation& rotation) {
  // Heads of a token stay side by side, as projections make them: attention's output then lies as
  // the next projection reads it.
  return rotate_heads(x_BHSD.transpose(1, 2), rotation.cosine_BS1C, rotation.sine_BS1C)
      .transpose(1, 2);
}

}  // namespace evomoe
