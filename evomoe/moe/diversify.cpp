#include "evomoe/moe/diversify.h"

#include <cmath>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/ops/noise.h"

namespace evomoe {
namespace {

using torch::Tensor;

/// What a random number of the spawn is for, beside the layer and the expert.
enum class Draw : uint32_t { kW1 = 0, kW2 = 2, kUnits = 4 };

NoiseKey key_of(uint64_t seed, int64_t layer, int64_t expert, Draw draw) {
  NoiseKey key;
  key.seed = seed;
  key.layer = static_cast<uint32_t>(layer);
  key.site = NoiseSite::kDiversify;
  key.update = static_cast<uint32_t>(draw);
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

ExpertTensors diversify(const ExpertTensors& one, int64_t num_experts,
                        const DiversifyOptions& options, uint64_t seed, int64_t layer) {
  validate(options);
  EVOMOE_CHECK(num_experts > 0, "cannot spawn {} experts; at least one is needed", num_experts);
  EVOMOE_CHECK(one.w1.dim() == 3 && one.w1.size(0) == 1 && one.w2.dim() == 3 &&
                   one.w2.size(0) == 1 && one.b1.dim() == 2 && one.b2.dim() == 2,
               "experts are spawned from one expert, w1 [1,H,D] and w2 [1,D,H], not from {} and {}",
               c10::str(one.w1.sizes()), c10::str(one.w2.sizes()));
  const torch::NoGradGuard no_grad;
  const auto w1_HD = one.w1.detach()[0], w2_DH = one.w2.detach()[0];
  std::vector<Tensor> w1, w2;
  for (int64_t e = 0; e < num_experts; ++e) {
    const auto key1 = key_of(seed, layer, e, Draw::kW1), key2 = key_of(seed, layer, e, Draw::kW2);
    if (options.operation == "copy" || (options.keep_first && e == 0)) {
      w1.push_back(w1_HD);
      w2.push_back(w2_DH);
    } else if (options.operation == "mask") {
      w1.push_back(masked(w1_HD, options, key1));
      w2.push_back(masked(w2_DH, options, key2));
    } else if (options.operation == "noise") {
      w1.push_back(with_noise(w1_HD, options.ratio, key1));
      w2.push_back(with_noise(w2_DH, options.ratio, key2));
    } else {
      const auto unit_N = redrawn_units(w1_HD, options.ratio, key_of(seed, layer, e, Draw::kUnits));
      w1.push_back(with_new_rows(w1_HD, unit_N, key1));
      w2.push_back(with_new_rows(w2_DH.t().contiguous(), unit_N, key2).t().contiguous());
    }
  }
  const auto repeated = [&](const Tensor& bias) {
    return bias.detach().expand({num_experts, bias.size(1)}).clone();
  };
  return {torch::stack(w1), repeated(one.b1), torch::stack(w2), repeated(one.b2)};
}

Tensor diversify_moment(const Tensor& moment, int gradient_power, int64_t num_experts,
                        const std::string& rule) {
  EVOMOE_CHECK(moment.dim() >= 1 && moment.size(0) == 1,
               "the moment of one expert must have a first axis of 1, not the shape {}",
               c10::str(moment.sizes()));
  EVOMOE_CHECK(num_experts > 0, "cannot spawn {} experts; at least one is needed", num_experts);
  auto sizes = moment.sizes().vec();
  sizes[0] = num_experts;
  const auto copies = moment.detach().expand(sizes);
  if (rule == "copy") return copies.clone();
  if (rule == "reset") return torch::zeros(sizes, moment.options().requires_grad(false));
  if (rule == "scale") {
    return copies * std::pow(1.0 / static_cast<double>(num_experts), gradient_power);
  }
  fail_usage("--diversify-moments '{}' is not known; it may be copy, reset or scale", rule);
}

}  // namespace evomoe
