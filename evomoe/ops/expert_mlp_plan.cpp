#include "evomoe/ops/expert_mlp_plan.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <string>

#include "evomoe/base/error.h"
#include "evomoe/ops/philox_dropout.h"

namespace evomoe {
namespace {

using torch::Tensor;

void check_shapes(const Tensor& x_TD, const Tensor& token_A, const Tensor& weight_A,
                  const ExpertWeights& weights) {
  const auto& w1_EHD = weights.w1_EHD;
  EVOMOE_CHECK(w1_EHD.defined() && weights.w2_EDH.defined(),
               "experts need w1 and w2; {} is undefined", w1_EHD.defined() ? "w2" : "w1");
  EVOMOE_CHECK(x_TD.dim() == 2 && w1_EHD.dim() == 3 && x_TD.size(1) == w1_EHD.size(2),
               "the experts' input must be [T,D] and w1 [E,H,D], not {} and {}",
               c10::str(x_TD.sizes()), c10::str(w1_EHD.sizes()));
  EVOMOE_CHECK(token_A.dim() == 1 && token_A.scalar_type() == torch::kInt64 &&
                   weight_A.sizes() == token_A.sizes(),
               "assignments must be tokens int64 [A] and weights [A], not {} {} and {}",
               c10::toString(token_A.scalar_type()), c10::str(token_A.sizes()),
               c10::str(weight_A.sizes()));
  const auto check_type = [&](const Tensor& tensor, torch::ScalarType type) {
    EVOMOE_CHECK(x_TD.is_floating_point() && tensor.scalar_type() == type &&
                     tensor.device() == x_TD.device() && token_A.device() == x_TD.device(),
                 "input, assignments and weights of the experts must share one floating type and "
                 "device; the input is {} on {}, another is {} on {}",
                 c10::toString(x_TD.scalar_type()), c10::str(x_TD.device()),
                 c10::toString(tensor.scalar_type()), c10::str(tensor.device()));
  };
  const auto type = x_TD.scalar_type();
  check_type(weight_A, type);
  // All three matrices of an expert may be narrower than what they are multiplied with.
  const auto type_of_matrices = w1_EHD.scalar_type() == torch::kBFloat16 ? torch::kBFloat16 : type;
  for_each_weight(
      [&](const Tensor& tensor, const char* name, const std::vector<int64_t>& shape) {
        if (!tensor.defined()) return;
        EVOMOE_CHECK(tensor.sizes() == torch::IntArrayRef(shape),
                     "with w1 {} the experts need {} [{}], not {}", c10::str(w1_EHD.sizes()), name,
                     fmt::join(shape, ","), c10::str(tensor.sizes()));
        check_type(tensor, tensor.dim() == 3 ? type_of_matrices : type);
      },
      weights, kExpertWeightNames,
      expert_shapes({.experts = w1_EHD.size(0),
                     .model_dim = w1_EHD.size(2),
                     .hidden_dim = w1_EHD.size(1),
                     .gated = true}));
}

/// The offsets as numbers, checked; on the CPU the tokens as well, because kernels trust them.
std::vector<int64_t> checked_offsets(const Tensor& offset_E1, const Tensor& token_A, int64_t E,
                                     int64_t T) {
  EVOMOE_CHECK(offset_E1.is_cpu() && offset_E1.scalar_type() == torch::kInt64 &&
                   offset_E1.dim() == 1 && offset_E1.size(0) == E + 1,
               "the offsets of {} experts must be int64 [{}] on the CPU, not {} {} on {}", E, E + 1,
               c10::toString(offset_E1.scalar_type()), c10::str(offset_E1.sizes()),
               c10::str(offset_E1.device()));
  const auto contiguous = offset_E1.contiguous();
  const auto* first = contiguous.const_data_ptr<int64_t>();
  std::vector<int64_t> offset(first, first + E + 1);
  EVOMOE_CHECK(offset.front() == 0 && offset.back() == token_A.size(0) &&
                   std::is_sorted(offset.begin(), offset.end()),
               "the offsets of the experts must rise from 0 to the number of assignments, {}; they "
               "are {}",
               token_A.size(0), c10::str(torch::IntArrayRef(offset)));
  if (!token_A.is_cpu()) return offset;
  const auto* token = token_A.const_data_ptr<int64_t>();
  for (size_t e = 0; e + 1 < offset.size(); ++e) {
    for (int64_t a = offset[e]; a < offset[e + 1]; ++a) {
      EVOMOE_CHECK(token[a] >= 0 && token[a] < T,
                   "assignment {} of expert {} names token {}, but there are {} tokens",
                   a - offset[e], e, token[a], T);
      EVOMOE_CHECK(a == offset[e] || token[a - 1] < token[a],
                   "the tokens of expert {} must ascend without repeats, but {} follows {}", e,
                   token[a], token[a - 1]);
    }
  }
  return offset;
}

ExpertMlpPlan make_plan(const ExpertWeights& weights, const ExpertMlpOptions& options,
                        NoiseSite activation_site, NoiseSite output_site,
                        const std::string& whose) {
  check_dropout_probability(options.activation_dropout, (whose + "activation dropout").c_str());
  check_dropout_probability(options.dropout, (whose + "dropout").c_str());
  ExpertMlpPlan plan;
  plan.has = of_each_weight(weights, [](const Tensor&) { return true; });
  plan.activation = parse_activation(options.activation);
  plan.activation_dropout = options.activation_dropout;
  plan.dropout = options.dropout;
  plan.recompute = options.recompute;
  plan.activation_key = options.noise.at(options.noise.layer, activation_site);
  plan.output_key = options.noise.at(options.noise.layer, output_site);
  return plan;
}

}  // namespace

ExpertMlpPlan expert_mlp_plan(const Tensor& x_TD, const Tensor& token_A, const Tensor& weight_A,
                              const Tensor& offset_E1, const ExpertWeights& weights,
                              const ExpertMlpOptions& options) {
  check_shapes(x_TD, token_A, weight_A, weights);
  auto plan = make_plan(weights, options, NoiseSite::kExpertActivationDropout,
                        NoiseSite::kExpertOutputDropout, "the experts' ");
  plan.offset_E1 = checked_offsets(offset_E1, token_A, weights.w1_EHD.size(0), x_TD.size(0));
  plan.first_expert = options.first_expert;
  if (options.noise_token_T.defined() && (options.activation_dropout > 0 || options.dropout > 0)) {
    EVOMOE_CHECK(x_TD.is_cpu() && options.noise_token_T.numel() == x_TD.size(0),
                 "rows of the experts have noise of their own on the CPU only, one number for each "
                 "of {} rows, not {} on {}",
                 x_TD.size(0), options.noise_token_T.numel(), c10::str(x_TD.device()));
    plan.noise_token_A = options.noise_token_T.index_select(0, token_A);
  }
  return plan;
}

ExpertMlpPlan feed_forward_plan(const Tensor& x_TD, const Tensor& token_A, const Tensor& weight_A,
                                const ExpertWeights& weights, const ExpertMlpOptions& options) {
  check_shapes(x_TD, token_A, weight_A, weights);
  EVOMOE_CHECK(weights.w1_EHD.size(0) == 1,
               "a feed-forward block has the weights of one expert, w1 [1,H,D], not {}",
               c10::str(weights.w1_EHD.sizes()));
  auto plan = make_plan(weights, options, NoiseSite::kActivationDropout,
                        NoiseSite::kFeedForwardDropout, "");
  plan.offset_E1 = {0, x_TD.size(0)};
  return plan;
}

}  // namespace evomoe
