#include "evomoe/models/adaptive_softmax.h"

#include <fmt/format.h>

#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/models/initialisation.h"
#include "evomoe/ops/linear_cross_entropy.h"
#include "evomoe/ops/philox_dropout.h"

namespace evomoe {

AdaptiveSoftmaxImpl::AdaptiveSoftmaxImpl(const AdaptiveSoftmaxOptions& options, int64_t vocab_size,
                                         int64_t dim, const AdaptiveInput& input)
    : bounds_(options.bands.bounds(vocab_size, "--adaptive-softmax-cutoff")),
      dropout_(options.dropout) {
  check_dropout("--adaptive-softmax-dropout", dropout_);
  const bool tied = options.tie_weights;
  if ((tied || options.tie_projections) && input.is_empty()) {
    fail_usage("--tie-adaptive-weights and --tie-adaptive-proj need --adaptive-input");
  }
  if (tied && input->bands() + 1 != bounds_.size()) {
    fail_usage(
        "--tie-adaptive-weights needs --adaptive-input-cutoff and --adaptive-softmax-cutoff "
        "to be equal");
  }
  const auto own = [](torch::nn::Module& parent, const std::string& name, int64_t rows,
                      int64_t columns) {
    return parent.register_module(name, std::make_shared<torch::nn::Module>())
        ->register_parameter("weight", torch::zeros({rows, columns}));
  };
  const auto classes = static_cast<int64_t>(bounds_.size()) - 2;
  if (tied) {
    word_weight_ = input->table(0);
    EVOMOE_CHECK(word_weight_.size(0) == bounds_[1] && word_weight_.size(1) == dim,
                 "--tie-adaptive-weights: the first band of the input is {}, that of the output "
                 "[{},{}]; make --adaptive-input-cutoff and --adaptive-softmax-cutoff equal",
                 c10::str(word_weight_.sizes()), bounds_[1], dim);
    auto head = register_module("head", std::make_shared<torch::nn::Module>());
    class_projection_ = own(*head, "class_proj", classes, dim);
  } else {
    head_ = own(*this, "head", bounds_[1] + classes, dim);
  }
  auto tails = register_module("tail", std::make_shared<torch::nn::Module>());
  for (size_t i = 1; i + 1 < bounds_.size(); ++i) {
    auto module =
        tails->register_module(std::to_string(i - 1), std::make_shared<torch::nn::Module>());
    Tail tail;
    const auto width = tied ? input->table(i).size(1) : options.bands.width(dim, i);
    const auto tokens = bounds_[i + 1] - bounds_[i];
    if (width < 1)
      fail_usage("--adaptive-softmax-factor {} leaves no width of {} for band {}",
                 options.bands.factor, dim, i);
    if (tied && options.tie_projections) {
      tail.projection = input->projection(i);
      tail.transposed = true;
      tail.own_projection = false;
    } else {
      tail.projection = own(*module, "0", width, dim);
    }
    if (tied) {
      tail.weight = input->table(i);
      tail.own_weight = false;
      EVOMOE_CHECK(tail.weight.size(0) == tokens,
                   "--tie-adaptive-weights: make --adaptive-input-cutoff and "
                   "--adaptive-softmax-cutoff equal");
    } else {
      tail.weight = own(*module, "2", tokens, width);
    }
    tails_.push_back(tail);
  }
}

void AdaptiveSoftmaxImpl::initialise(uint64_t seed, const std::string& name) {
  const auto init = [&](torch::Tensor weight, const std::string& part) {
    init_uniform(weight, xavier_bound(weight, 1.0), seed, name + "." + part + ".weight");
  };
  if (head_.defined()) init(head_, "head");
  if (class_projection_.defined()) init(class_projection_, "head.class_proj");
  for (size_t i = 0; i < tails_.size(); ++i) {
    if (tails_[i].own_projection) init(tails_[i].projection, fmt::format("tail.{}.0", i));
    if (tails_[i].own_weight) init(tails_[i].weight, fmt::format("tail.{}.2", i));
  }
}

torch::Tensor AdaptiveSoftmaxImpl::head_weight() const {
  return head_.defined() ? head_ : torch::cat({word_weight_, class_projection_});
}

torch::Tensor AdaptiveSoftmaxImpl::tail_features(const Tail& tail,
                                                 const torch::Tensor& x_ND) const {
  return torch::matmul(x_ND, tail.transposed ? tail.projection : tail.projection.t());
}

template <typename Visit>
torch::Tensor AdaptiveSoftmaxImpl::split(const torch::Tensor& target_N, int64_t ignore_index,
                                         Visit visit) const {
  auto head_N = target_N.clone();
  for (size_t i = 0; i < tails_.size(); ++i) {
    const auto inside = target_N.ge(bounds_[i + 1])
                            .logical_and(target_N.lt(bounds_[i + 2]))
                            .logical_and(target_N.ne(ignore_index));
    const auto row_K = inside.nonzero().squeeze(1);
    if (row_K.size(0) == 0) continue;
    head_N.index_fill_(0, row_K, bounds_[1] + static_cast<int64_t>(i));
    visit(i, row_K, target_N.index_select(0, row_K) - bounds_[i + 1]);
  }
  return head_N;
}

TokenLoss AdaptiveSoftmaxImpl::loss(const torch::Tensor& x_ND, const torch::Tensor& target_N,
                                    const TokenLossOptions& how) {
  TokenLoss total;
  torch::Tensor sum;
  const auto add = [&](const LinearCrossEntropy& part) {
    sum = sum.defined() ? sum + part.loss : part.loss;
    total.nll += part.nll;
  };
  const auto dropped = [&](const torch::Tensor& x, uint32_t band, NoiseSite site,
                           const torch::Tensor& row_K = {}) {
    return how.dropout_noise ? philox_dropout(x, dropout_, how.dropout_noise->at(band, site), row_K)
                             : x;
  };
  const auto input_ND = dropped(x_ND, 0, NoiseSite::kAdaptiveSoftmaxDropout);
  const auto head_N =
      split(target_N, how.ignore_index,
            [&](size_t band, const torch::Tensor& row_K, const torch::Tensor& target_K) {
              const auto& tail = tails_[band];
              const auto features = tail_features(tail, input_ND.index_select(0, row_K));
              add(linear_cross_entropy(dropped(features, static_cast<uint32_t>(band),
                                               NoiseSite::kAdaptiveSoftmaxTailDropout, row_K),
                                       tail.weight, target_K, LinearCrossEntropyOptions{}));
            });
  add(linear_cross_entropy(input_ND, head_weight(), head_N,
                           LinearCrossEntropyOptions{.ignore_index = how.ignore_index}));
  total.loss = sum;
  return total;
}

torch::Tensor AdaptiveSoftmaxImpl::log_probability(const torch::Tensor& x_ND) {
  const auto head = torch::log_softmax(torch::matmul(x_ND, head_weight().t()), 1, torch::kFloat32);
  std::vector<torch::Tensor> parts = {head.slice(1, 0, bounds_[1])};
  for (size_t i = 0; i < tails_.size(); ++i) {
    const auto within = torch::log_softmax(
        torch::matmul(tail_features(tails_[i], x_ND), tails_[i].weight.t()), 1, torch::kFloat32);
    parts.push_back(within + head.select(1, bounds_[1] + static_cast<int64_t>(i)).unsqueeze(1));
  }
  return torch::cat(parts, 1);
}

torch::Tensor AdaptiveSoftmaxImpl::log_probability_of(const torch::Tensor& x_ND,
                                                      const torch::Tensor& target_N) {
  const torch::NoGradGuard no_grad;
  auto within_N = torch::zeros({target_N.size(0)}, x_ND.options().dtype(torch::kFloat32));
  const auto head_N =
      split(target_N, /*ignore_index=*/-1,
            [&](size_t band, const torch::Tensor& row_K, const torch::Tensor& target_K) {
              const auto& tail = tails_[band];
              within_N.index_copy_(
                  0, row_K,
                  linear_log_probability(tail_features(tail, x_ND.index_select(0, row_K)),
                                         tail.weight, target_K));
            });
  return linear_log_probability(x_ND, head_weight(), head_N) + within_N;
}

}  // namespace evomoe
