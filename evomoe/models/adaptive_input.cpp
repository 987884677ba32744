#include "evomoe/models/adaptive_input.h"

#include <fmt/ranges.h>

#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/models/initialisation.h"

namespace evomoe {

std::vector<int64_t> AdaptiveBands::bounds(int64_t vocab_size, const std::string& flag) const {
  std::vector<int64_t> bounds = {0};
  for (const auto cutoff : cutoffs) {
    if (cutoff <= bounds.back() || cutoff > vocab_size) {
      fail_usage("{} {}: cutoffs must rise and lie within the {} symbols of the dictionary", flag,
                 fmt::join(cutoffs, ","), vocab_size);
    }
    bounds.push_back(cutoff);
  }
  if (bounds.back() < vocab_size) bounds.push_back(vocab_size);
  return bounds;
}

int64_t AdaptiveBands::width(int64_t dim, size_t band) const {
  return static_cast<int64_t>(
      std::floor(static_cast<double>(dim) / std::pow(factor, static_cast<double>(band))));
}

AdaptiveInputImpl::AdaptiveInputImpl(const AdaptiveBands& bands, int64_t vocab_size, int64_t dim,
                                     int64_t padding_index)
    : bounds_(bands.bounds(vocab_size, "--adaptive-input-cutoff")),
      dim_(dim),
      padding_index_(padding_index) {
  auto embeddings = register_module("embeddings", std::make_shared<torch::nn::Module>());
  for (size_t i = 0; i + 1 < bounds_.size(); ++i) {
    const auto width = bands.width(dim, i);
    if (width < 1) {
      fail_usage("--adaptive-input-factor {} leaves no width of {} for band {}", bands.factor, dim,
                 i);
    }
    auto band =
        embeddings->register_module(std::to_string(i), std::make_shared<torch::nn::Module>());
    const auto add = [&](const std::string& name, int64_t rows, int64_t columns) {
      return band->register_module(name, std::make_shared<torch::nn::Module>())
          ->register_parameter("weight", torch::zeros({rows, columns}));
    };
    tables_.push_back(add("0", bounds_[i + 1] - bounds_[i], width));
    projections_.push_back(add("1", dim, width));
  }
}

torch::Tensor AdaptiveInputImpl::forward(const torch::Tensor& token) {
  const auto token_T = token.flatten();
  auto x_TD = torch::zeros({token_T.size(0), dim_}, tables_.front().options());
  for (size_t i = 0; i < tables_.size(); ++i) {
    const auto row_N =
        token_T.ge(bounds_[i]).logical_and(token_T.lt(bounds_[i + 1])).nonzero().squeeze(1);
    if (row_N.size(0) == 0) continue;
    const auto index_N = token_T.index_select(0, row_N) - bounds_[i];
    const auto padding = i == 0 ? padding_index_ : -1;
    const auto vector_ND = torch::linear(
        torch::nn::functional::embedding(
            index_N, tables_[i],
            padding < 0 ? torch::nn::functional::EmbeddingFuncOptions()
                        : torch::nn::functional::EmbeddingFuncOptions().padding_idx(padding)),
        projections_[i]);
    x_TD = x_TD.index_copy(0, row_N, vector_ND);
  }
  auto sizes = token.sizes().vec();
  sizes.push_back(dim_);
  return x_TD.view(sizes);
}

void AdaptiveInputImpl::initialise(uint64_t seed, const std::string& name) {
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i < tables_.size(); ++i) {
    const auto band = fmt::format("{}.embeddings.{}", name, i);
    const double std = 1.0 / std::sqrt(static_cast<double>(tables_[i].size(1)));
    init_normal(tables_[i], std, seed, band + ".0.weight");
    init_uniform(projections_[i], xavier_bound(projections_[i], 1.0), seed, band + ".1.weight");
  }
  tables_.front()[padding_index_].zero_();
}

}  // namespace evomoe
