#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <string>

#include "evomoe/base/philox.h"
#include "evomoe/routing/routing.h"

namespace evomoe {

struct ExpertBankOptions {
  int64_t num_experts = 0;  ///< E
  int64_t model_dim = 0;    ///< D
  int64_t hidden_dim = 0;   ///< H
  std::string activation = "gelu";
  double activation_dropout = 0.0;
  double dropout = 0.0;
  bool recompute = false;  ///< recompute pre-activations in the backward pass
  int64_t layer = 0;       ///< enters the initialisation and the dropout noise
  /// Seed of the first values; nothing: they are undefined until initialise() or loading.
  std::optional<uint64_t> initial_seed = 1;
};

/// The stacked weights of E feed-forward experts: parameters w1 [E,H,D], b1 [E,H], w2 [E,D,H],
/// b2 [E,D]. Error: sizes that are not positive, an unknown activation, a dropout outside [0, 1).
class ExpertBankImpl : public torch::nn::Module {
 public:
  explicit ExpertBankImpl(const ExpertBankOptions& options);

  /// x_TD [T,D] -> y_TD: the sum of each token's expert outputs times their combine weights.
  /// `noise`: seed, update and sequences of the micro-batch; used for dropout in training only.
  torch::Tensor forward(const torch::Tensor& x_TD, const Routing& routing, NoiseKey noise,
                        bool training);

  /// nn.Linear's default, U(+-1/sqrt(fan_in)) for weights and biases, from counter-based noise
  /// keyed by layer and expert: expert e starts the same whatever E is and whichever rank owns it.
  void initialise(uint64_t seed);

  int64_t num_experts() const { return w1.size(0); }
  const ExpertBankOptions& options() const { return options_; }

  torch::Tensor w1, b1, w2, b2;

 private:
  ExpertBankOptions options_;
};
TORCH_MODULE(ExpertBank);

}  // namespace evomoe
