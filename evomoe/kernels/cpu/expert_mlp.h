#pragma once

#include <cstdint>

#include "evomoe/base/philox.h"
#include "evomoe/kernels/cpu/activation.h"

/// The experts' feed-forward blocks on the tokens assigned to them, in float32 on the CPU. An
/// expert with many rows has all threads on each of its matrix products; experts with few rows run
/// side by side, one thread each. Which is which depends on the rows and the number of threads
/// alone, so that results are reproducible.
namespace evomoe::kernels {

/// Who goes where, the weights, and what is done to the rows. Assignments are those of Routing:
/// `token` [A] ascends within an expert, expert e has [offset[e], offset[e + 1]).
struct ExpertMlp {
  int64_t tokens, experts, model_dim, hidden_dim;  ///< T, E, D, H
  const int64_t* token;                            ///< [A]
  const int64_t* offset;                           ///< [E + 1]
  const float* x;                                  ///< [T, D]
  const float* weight;                             ///< [A], combine weights
  const float *w1, *b1, *w2, *b2;                  ///< [E, H, D], [E, H], [E, D, H], [E, D]
  Activation activation = Activation::kGelu;
  double activation_dropout = 0, dropout = 0;
  NoiseKey activation_key, output_key;

  int64_t rows(int64_t expert) const { return offset[expert + 1] - offset[expert]; }
  int64_t assignments() const { return offset[experts]; }
};

/// y [T, D], all of it written. `pre` [A, H] receives the pre-activations; null: they are not kept.
void expert_mlp_forward(const ExpertMlp& mlp, float* pre, float* y);

/// Where the gradients go; all of each is written, zeros for experts without rows.
struct ExpertMlpGradients {
  float* x;                  ///< [T, D]
  float* weight;             ///< [A]
  float *w1, *b1, *w2, *b2;  ///< as the weights
};

/// `pre` is what the forward pass kept; null: it is made again.
void expert_mlp_backward(const ExpertMlp& mlp, const float* grad_y, const float* pre,
                         const ExpertMlpGradients& grad);

}  // namespace evomoe::kernels
