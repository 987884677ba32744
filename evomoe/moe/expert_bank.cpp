#include "evomoe/moe/expert_bank.h"

#include <ATen/record_function.h>

#include <cmath>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/ops/activation.h"
#include "evomoe/ops/expert_mlp.h"
#include "evomoe/ops/noise.h"
#include "evomoe/ops/philox_dropout.h"

namespace evomoe {
namespace {

/// Uniform numbers in (-bound, bound) for the weight of an expert with this key.
torch::Tensor initial_values(const torch::Tensor& like, double bound, uint64_t seed, int64_t layer,
                             int64_t expert, uint32_t of_weight) {
  NoiseKey key;
  key.seed = seed;
  key.layer = static_cast<uint32_t>(layer);
  key.site = NoiseSite::kInitialisation;
  // Words that a training step would use for update and sequence; rows are positions.
  key.update = of_weight;
  key.first_sequence = static_cast<uint32_t>(expert);
  const auto rows = like.dim() == 1 ? 1 : like.size(0);
  return (uniform_noise(rows, like.numel() / rows, key, like.device()) * (2 * bound) - bound)
      .view(like.sizes());
}

}  // namespace

ExpertBankImpl::ExpertBankImpl(const ExpertBankOptions& options) : options_(options) {
  const auto E = options.num_experts, D = options.model_dim, H = options.hidden_dim;
  EVOMOE_CHECK(E > 0 && D > 0 && H > 0,
               "a bank of experts needs at least one expert, model and hidden dimension, not {} "
               "experts of {} x {}",
               E, D, H);
  parse_activation(options.activation);
  check_dropout_probability(options.activation_dropout, "the experts' activation dropout");
  check_dropout_probability(options.dropout, "the experts' dropout");
  for_each_weight(
      [&](torch::Tensor& weight, const char* name, const std::vector<int64_t>& shape) {
        if (!shape.empty()) weight = register_parameter(name, torch::empty(shape));
      },
      weights, kExpertWeightNames, expert_shapes(options.form()));
  if (options.initial_seed) initialise(*options.initial_seed);
}

void ExpertBankImpl::initialise(uint64_t seed) {
  const torch::NoGradGuard no_grad;
  for_each_weight(
      [&](const torch::Tensor& weight, uint32_t key) {
        if (!weight.defined()) return;
        // What makes H values, of w1, b1 and w3, comes from D, and the other way round.
        const auto fan_in = options_.model_dim + options_.hidden_dim - weight.size(1);
        const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
        for (int64_t e = 0; e < num_experts(); ++e) {
          auto of_one = weight[e];
          of_one.copy_(
              initial_values(of_one, bound, seed, options_.layer, options_.first_expert + e, key));
        }
      },
      weights, kExpertWeightKeys);
}

torch::Tensor ExpertBankImpl::forward(const torch::Tensor& x_TD, const Routing& routing,
                                      NoiseKey noise, bool training,
                                      const torch::Tensor& noise_token_T,
                                      torch::Tensor* output_sum_ED) {
  RECORD_USER_SCOPE("experts");
  ExpertMlpOptions mlp;
  mlp.activation = options_.activation;
  mlp.activation_dropout = training ? options_.activation_dropout : 0.0;
  mlp.dropout = training ? options_.dropout : 0.0;
  mlp.recompute = options_.recompute;
  mlp.noise = noise;
  mlp.noise_token_T = noise_token_T;
  mlp.first_expert = options_.first_expert;
  mlp.noise.layer = static_cast<uint32_t>(options_.layer);
  return expert_mlp(x_TD, routing.token_A, routing.weight_A.to(x_TD.scalar_type()),
                    routing.offset_E1, weights, mlp, output_sum_ED);
}

}  // namespace evomoe
