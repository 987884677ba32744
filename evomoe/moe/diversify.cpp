#include "evomoe/moe/diversify.h"

#include <cmath>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/ops/noise.h"

namespace evomoe {
namespace {

using torch::Tensor;

/// `draw`: of kExpertWeightKeys, or kKeyBesideExpertWeights for the hidden units.
NoiseKey key_of(uint64_t seed, int64_t layer, int64_t expert, uint32_t draw) {
  NoiseKey key;
  key.seed = seed;
  key.layer = static_cast<uint32_t>(layer);
  key.site = NoiseSite::kDiversify;
  key.update = draw;
  key.first_sequence = static_cast<uint32_t>(expert);
  return key;
}

Tensor uniform_like(const Tensor& matrix, const NoiseKey& key) {
  return uniform_noise(matrix.size(0), matrix.size(1), key, matrix.device());
}

Tensor normal_like(const Tensor& matrix, const NoiseKey& key) {
  return normal_noise(matrix.size(0), matrix.size(1), key, matrix.device())
      .to(matrix.scalar_type());
}

/// W o B with B ~ Bernoulli(1 - ratio), once: the masked weights are trained on like the others.
Tensor masked(const Tensor& matrix, const DiversifyOptions& options, const NoiseKey& key) {
  const auto kept = uniform_like(matrix, key) >= options.ratio;
  const auto result = matrix * kept.to(matrix.scalar_type());
  return options.rescale ? result / (1.0 - options.ratio) : result;
}

Tensor with_noise(const Tensor& matrix, double ratio, const NoiseKey& key) {
  const auto deviation = matrix.numel() > 1 ? matrix.std() : torch::zeros({}, matrix.options());
  return matrix + normal_like(matrix, key) * (ratio * deviation);
}

/// Rows `unit_N` drawn again. The noise is that of the whole matrix, so that an element's number
/// depends on its own place alone.
Tensor with_new_rows(const Tensor& matrix, const Tensor& unit_N, const NoiseKey& key) {
  return redraw_rows(matrix, unit_N, normal_like(matrix, key).index_select(0, unit_N));
}

/// The hidden units that drop-upcycling draws again: the share `ratio` of a random order.
Tensor redrawn_units(const Tensor& w1_HD, double ratio, const NoiseKey& key) {
  const auto hidden = w1_HD.size(0);
  const auto order = uniform_noise(1, hidden, key, w1_HD.device()).flatten().argsort();
  return order.slice(0, 0, static_cast<int64_t>(ratio * static_cast<double>(hidden)));
}

/// One matrix of a new expert. `unit_N`: the hidden units that drop-upcycling draws again, rows of
/// the matrix or, `by_columns`, its columns.
Tensor diversified(const Tensor& matrix, const DiversifyOptions& options, const NoiseKey& key,
                   const Tensor& unit_N, bool by_columns) {
  if (options.operation == "mask") return masked(matrix, options, key);
  if (options.operation == "noise") return with_noise(matrix, options.ratio, key);
  if (!by_columns) return with_new_rows(matrix, unit_N, key);
  return with_new_rows(matrix.t().contiguous(), unit_N, key).t().contiguous();
}

}  // namespace

void DiversifyOptions::describe(OptionTable& table) {
  table
      .add("diversify", &operation,
           "How the experts are made from the shared one: equal copies; a share of weights set to "
           "zero; noise added; a share of hidden units drawn anew.")
      .choices({"copy", "mask", "noise", "drop-upcycling"});
  table
      .add("diversify-ratio", &ratio,
           "Strength: share of masked weights, noise in standard deviations of the weights, or "
           "share of units drawn anew.")
      .at_least(0);
  table.add("diversify-rescale", &rescale, "mask: divides the kept weights by the kept share.");
  table.add("diversify-keep-first", &keep_first, "The first expert stays an exact copy.");
  table
      .add("diversify-moments", &moments,
           "Optimiser state of the new experts: copied, set to zero, or divided by their number "
           "(averages of squared gradients by its square), which suits a dense gate.")
      .choices({"copy", "reset", "scale"});
}

void validate(const DiversifyOptions& options) {
  const auto& operation = options.operation;
  const auto ratio = options.ratio;
  if (operation != "copy" && operation != "mask" && operation != "noise" &&
      operation != "drop-upcycling") {
    fail_usage("--diversify '{}' is not known; it may be copy, mask, noise or drop-upcycling",
               operation);
  }
  if (operation == "mask" && !(ratio >= 0 && ratio < 1)) {
    fail_usage("--diversify-ratio {} of mask must be at least 0 and below 1", ratio);
  }
  if (operation == "drop-upcycling" && !(ratio >= 0 && ratio <= 1)) {
    fail_usage("--diversify-ratio {} of drop-upcycling must lie between 0 and 1", ratio);
  }
  if (operation == "noise" && !(ratio >= 0 && std::isfinite(ratio))) {
    fail_usage("--diversify-ratio {} of noise must be 0 or more", ratio);
  }
  if (options.rescale && operation != "mask") {
    fail_usage("--diversify-rescale belongs to --diversify mask, not to {}; leave it out",
               operation);
  }
}

Tensor redraw_rows(const Tensor& matrix, const Tensor& unit_N, const Tensor& normal_NC) {
  const auto replaced = matrix.index_select(0, unit_N);
  if (replaced.numel() < 2) return matrix.clone();  // no deviation to draw with
  return matrix.index_copy(0, unit_N, replaced.mean() + replaced.std() * normal_NC);
}

ExpertWeights diversify(const ExpertWeights& one, const ExpertRange& experts,
                        const DiversifyOptions& options, uint64_t seed, int64_t layer) {
  validate(options);
  EVOMOE_CHECK(experts.size() > 0, "cannot spawn {} experts; at least one is needed",
               experts.size());
  for_each_weight(
      [](const Tensor& tensor, const char* name) {
        EVOMOE_CHECK(!tensor.defined() || (tensor.dim() >= 2 && tensor.size(0) == 1),
                     "experts are spawned from one expert, whose {} must be [1,...], not {}", name,
                     c10::str(tensor.sizes()));
      },
      one, kExpertWeightNames);
  const torch::NoGradGuard no_grad;
  ExpertWeightsOf<std::vector<Tensor>> many;
  for (auto e = experts.begin; e < experts.end; ++e) {
    const bool exact = options.operation == "copy" || (options.keep_first && e == 0);
    Tensor unit_N;
    if (!exact && options.operation == "drop-upcycling") {
      unit_N = redrawn_units(one.w1_EHD[0], options.ratio,
                             key_of(seed, layer, e, kKeyBesideExpertWeights));
    }
    for_each_weight(
        [&](std::vector<Tensor>& of_all, const Tensor& of_one, uint32_t draw) {
          if (!of_one.defined()) return;
          const auto weight = of_one.detach()[0];
          const bool matrix = weight.dim() == 2, of_w2 = of_one.is_same(one.w2_EDH);
          of_all.push_back(exact || !matrix
                               ? weight
                               : diversified(weight, options, key_of(seed, layer, e, draw), unit_N,
                                             /*by_columns=*/of_w2));
        },
        many, one, kExpertWeightKeys);
  }
  ExpertWeights stacked;
  for_each_weight(
      [](Tensor& to, const std::vector<Tensor>& from) {
        if (!from.empty()) to = torch::stack(from);
      },
      stacked, many);
  return stacked;
}

Tensor diversify_moment(const Tensor& moment, int gradient_power, int64_t num_experts,
                        int64_t count, const std::string& rule) {
  EVOMOE_CHECK(moment.dim() >= 1 && moment.size(0) == 1,
               "the moment of one expert must have a first axis of 1, not the shape {}",
               c10::str(moment.sizes()));
  EVOMOE_CHECK(num_experts > 0, "cannot spawn {} experts; at least one is needed", num_experts);
  auto sizes = moment.sizes().vec();
  sizes[0] = count;
  const auto copies = moment.detach().expand(sizes);
  if (rule == "copy") return copies.clone();
  if (rule == "reset") return torch::zeros(sizes, moment.options().requires_grad(false));
  if (rule == "scale") {
    return copies * std::pow(1.0 / static_cast<double>(num_experts), gradient_power);
  }
  fail_usage("--diversify-moments '{}' is not known; it may be copy, reset or scale", rule);
}

Tensor copied_moment(const Tensor& moment, int gradient_power, int64_t times,
                     const std::string& rule) {
  std::vector<int64_t> repeats(static_cast<size_t>(moment.dim()), 1);
  repeats.at(0) = times;
  const auto copies = moment.detach().repeat(repeats);
  if (rule == "copy") return copies;
  if (rule == "reset") return torch::zeros_like(copies);
  if (rule == "scale") return copies * std::pow(1.0 / static_cast<double>(times), gradient_power);
  fail_usage("--diversify-moments '{}' is not known; it may be copy, reset or scale", rule);
}

}  // namespace evomoe
