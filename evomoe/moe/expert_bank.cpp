#include "evomoe/moe/expert_bank.h"

#include <ATen/record_function.h>

#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/ops/activation.h"
#include "evomoe/ops/expert_mlp.h"
#include "evomoe/ops/noise.h"
#include "evomoe/ops/philox_dropout.h"

namespace evomoe {
namespace {

/// Uniform numbers in (-bound, bound) for matrix number `matrix` of an expert.
torch::Tensor initial_values(const torch::Tensor& like, double bound, uint64_t seed, int64_t layer,
                             int64_t expert, uint32_t matrix) {
  NoiseKey key;
  key.seed = seed;
  key.layer = static_cast<uint32_t>(layer);
  key.site = NoiseSite::kInitialisation;
  // Words that a training step would use for update and sequence; rows are positions.
  key.update = matrix;
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
  w1 = register_parameter("w1", torch::empty({E, H, D}));
  b1 = register_parameter("b1", torch::empty({E, H}));
  w2 = register_parameter("w2", torch::empty({E, D, H}));
  b2 = register_parameter("b2", torch::empty({E, D}));
  if (options.initial_seed) initialise(*options.initial_seed);
}

void ExpertBankImpl::initialise(uint64_t seed) {
  const torch::NoGradGuard no_grad;
  const double bound1 = 1.0 / std::sqrt(static_cast<double>(options_.model_dim));
  const double bound2 = 1.0 / std::sqrt(static_cast<double>(options_.hidden_dim));
  const std::pair<torch::Tensor, double> matrices[] = {
      {w1, bound1}, {b1, bound1}, {w2, bound2}, {b2, bound2}};
  for (int64_t e = 0; e < num_experts(); ++e) {
    for (uint32_t m = 0; m < 4; ++m) {
      auto matrix = matrices[m].first[e];
      matrix.copy_(initial_values(matrix, matrices[m].second, seed, options_.layer, e, m));
    }
  }
}

torch::Tensor ExpertBankImpl::forward(const torch::Tensor& x_TD, const Routing& routing,
                                      NoiseKey noise, bool training) {
  RECORD_USER_SCOPE("experts");
  ExpertMlpOptions mlp;
  mlp.activation = options_.activation;
  mlp.activation_dropout = training ? options_.activation_dropout : 0.0;
  mlp.dropout = training ? options_.dropout : 0.0;
  mlp.recompute = options_.recompute;
  mlp.noise = noise;
  mlp.noise.layer = static_cast<uint32_t>(options_.layer);
  return expert_mlp(x_TD, routing.token_A, routing.weight_A.to(x_TD.scalar_type()),
                    routing.offset_E1, w1, b1, w2, b2, mlp);
}

}  // namespace evomoe
