#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <string>

#include "evomoe/base/philox.h"
#include "evomoe/ops/expert_weights.h"
#include "evomoe/routing/routing.h"

namespace evomoe {

struct ExpertBankOptions {
  int64_t num_experts = 0;   ///< E
  int64_t first_expert = 0;  ///< the number of its first one among all of the layer
  int64_t model_dim = 0;     ///< D
  int64_t hidden_dim = 0;    ///< H
  std::string activation = "gelu";
  bool gated = false;  ///< the experts have w3 (ops/expert_mlp.h); with the activation silu: SwiGLU
  bool biases = true;  ///< the experts have b1 and b2
  double activation_dropout = 0.0;
  double dropout = 0.0;
  bool recompute = false;  ///< recompute pre-activations in the backward pass
  int64_t layer = 0;       ///< enters the initialisation and the dropout noise
  /// Seed of the first values; nothing: they are undefined until initialise() or loading.
  std::optional<uint64_t> initial_seed = 1;

  ExpertForm form() const {
    return {.experts = num_experts,
            .model_dim = model_dim,
            .hidden_dim = hidden_dim,
            .gated = gated,
            .biases = biases};
  }
};

/// The stacked weights of E feed-forward experts, each a parameter of its name
/// (kExpertWeightNames) if the experts have it. Error: sizes that are not positive, an unknown
/// activation, a dropout outside [0, 1).
class ExpertBankImpl : public torch::nn::Module {
 public:
  explicit ExpertBankImpl(const ExpertBankOptions& options);

  /// x_TD [T,D] -> y_TD: the sum of each token's expert outputs times their combine weights.
  /// `noise`: seed, update and sequences of the micro-batch; used for dropout in training only, as
  /// is `noise_token_T`: ExpertMlpOptions has it. `output_sum_ED`: as expert_mlp() has it.
  torch::Tensor forward(const torch::Tensor& x_TD, const Routing& routing, NoiseKey noise,
                        bool training, const torch::Tensor& noise_token_T = {},
                        torch::Tensor* output_sum_ED = nullptr);

  /// nn.Linear's default, U(+-1/sqrt(fan_in)) for weights and biases, from counter-based noise
  /// keyed by layer, expert and weight: expert e starts the same whatever E is and whichever rank
  /// owns it.
  void initialise(uint64_t seed);

  int64_t num_experts() const { return options_.num_experts; }
  const ExpertBankOptions& options() const { return options_; }

  ExpertWeights weights;

 private:
  ExpertBankOptions options_;
};
TORCH_MODULE(ExpertBank);

}  // namespace evomoe
