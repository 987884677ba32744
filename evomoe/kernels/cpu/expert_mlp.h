#pragma once

#include <cstdint>

#include "evomoe/base/expert_weights.h"
#include "evomoe/base/philox.h"
#include "evomoe/kernels/cpu/activation.h"

/// The experts' feed-forward blocks on the tokens assigned to them, in float32 on the CPU. An
/// expert with many rows has all threads on each of its matrix products; experts with few rows run
/// side by side, one thread each. Which is which depends on the rows and the number of threads
/// alone, so that results are reproducible. A gated expert has two products where others have x
/// w1^T; x's rows are gathered once for both.
namespace evomoe::kernels {

/// Who goes where, the weights, and what is done to the rows. Assignments are those of Routing:
/// `token` [A] ascends within an expert, expert e has [offset[e], offset[e + 1]).
struct ExpertMlp {
  int64_t tokens, experts, model_dim, hidden_dim;  ///< T, E, D, H
  const int64_t* token;                            ///< [A]
  const int64_t* offset;                           ///< [E + 1]
  const float* x;                                  ///< [T, D]
  const float* weight;                             ///< [A], combine weights
  ExpertWeightsOf<const float*> of_experts;        ///< null: the experts do not have it
  /// Numbers from a weight of one expert to that of the next; 0: they follow each other.
  ExpertWeightsOf<int64_t> step = {};
  Activation activation = Activation::kGelu;
  double activation_dropout = 0, dropout = 0;
  NoiseKey activation_key, output_key;
  const int64_t* noise_token = nullptr;  ///< [A], what keys the dropout of each; null: `token`
  int64_t first_expert = 0;              ///< number of the first one, in the dropout's key

  int64_t rows(int64_t expert) const { return offset[expert + 1] - offset[expert]; }
  int64_t assignments() const { return offset[experts]; }
  bool gated() const { return of_experts.w3_EHD != nullptr; }
};

/// What the backward pass reads of the forward pass; null: it is not kept, and made again.
struct ExpertHidden {
  float* pre = nullptr;     ///< [A, H], x w1^T + b1
  float* factor = nullptr;  ///< [A, H], x w3^T, of gated experts: kept where `pre` is
};

/// y [T, D], all of it written. `hidden` receives what is to be kept; `act_sum` [E, H], unless it
/// is null, the sum of what each expert's activation gives, before dropout. The dropout of the
/// activation is that of the values which w2 takes: in gated experts, after the product with x
/// w3^T.
void expert_mlp_forward(const ExpertMlp& mlp, const ExpertHidden& hidden, float* y,
                        float* act_sum = nullptr);

/// Where the gradients go; all of each is written, zeros for experts without rows. Those of weights
/// may be null: they are not made.
struct ExpertMlpGradients {
  float* x;                            ///< [T, D]
  float* weight;                       ///< [A]
  ExpertWeightsOf<float*> of_experts;  ///< as the weights
  ExpertWeightsOf<int64_t> step = {};  ///< likewise
};

/// `hidden` is what the forward pass kept; it is only read.
void expert_mlp_backward(const ExpertMlp& mlp, const float* grad_y, const ExpertHidden& hidden,
                         const ExpertMlpGradients& grad);

}  // namespace evomoe::kernels
