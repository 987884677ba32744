#include "evomoe/routing/quantiles.h"

#include <algorithm>
#include <cmath>

namespace evomoe {
namespace {

int64_t wanted(double share, int64_t tokens) {
  return std::min(static_cast<int64_t>(std::llround(share * static_cast<double>(tokens))),
                  tokens - 1);
}

/// The value below which all but `rank` of an expert's counted values lie, within a bin as if they
/// were spread evenly; float64 [E].
torch::Tensor value_at(const torch::Tensor& count_EB, double rank, double least, double width) {
  const auto B = count_EB.size(1);
  const auto above_EB = count_EB.flip(1).cumsum(1).flip(1);  // in this bin and those above it
  // The last bin with at least `rank` values in it and above.
  const auto bin_E1 =
      ((above_EB >= rank).to(torch::kInt64).sum(1, /*keepdim=*/true) - 1).clamp(0, B - 1);
  const auto higher_E1 = above_EB.gather(1, bin_E1) - count_EB.gather(1, bin_E1);
  const auto part_E1 = (rank - higher_E1) / count_EB.gather(1, bin_E1).clamp_min(1);
  return (least + width * (bin_E1 + 1 - part_E1.clamp(0, 1))).squeeze(1);
}

}  // namespace

torch::Tensor ColumnQuantiles::sums(const torch::Tensor& value_TE,
                                    const torch::Tensor& valid_T) const {
  const torch::NoGradGuard no_grad;
  const auto E = value_TE.size(1);
  auto value = value_TE.detach().to(torch::kFloat64);
  if (valid_T.defined()) value = value.index_select(0, valid_T.nonzero().squeeze(1));
  const auto T = value.size(0);
  if (bins > 0) {
    const auto bin_TE =
        ((value - least) * (static_cast<double>(bins) / (most - least))).floor().clamp(0, bins - 1);
    const auto place_TE =
        bin_TE.to(torch::kInt64) +
        torch::arange(E, torch::dtype(torch::kInt64).device(value.device())) * bins;
    return torch::bincount(place_TE.flatten(), /*weights=*/{}, E * bins).to(torch::kFloat64);
  }
  if (T == 0) return torch::zeros({E}, value.options());
  const auto q = wanted(share, T);
  const auto best_QE = std::get<0>(value.topk(q + 1, /*dim=*/0));
  auto quantile_E = best_QE.select(0, q);
  if (midpoint && q > 0) quantile_E = (quantile_E + best_QE.select(0, q - 1)) / 2;
  return quantile_E * static_cast<double>(T);
}

torch::Tensor ColumnQuantiles::quantiles(const torch::Tensor& sums, int64_t tokens,
                                         int64_t num_experts) const {
  if (bins == 0) return sums / static_cast<double>(tokens);
  const auto q = static_cast<double>(wanted(share, tokens));
  const auto count_EB = sums.view({num_experts, bins});
  return value_at(count_EB, midpoint ? q + 0.5 : q + 1, least,
                  (most - least) / static_cast<double>(bins));
}

}  // namespace evomoe
