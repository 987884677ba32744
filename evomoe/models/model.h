#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "evomoe/models/forward_context.h"
#include "evomoe/models/transformer_stack.h"

namespace evomoe {

/// What a model reads. Padding is given where there is some.
struct ModelInput {
  torch::Tensor source_BS;               ///< int64 [B,S]
  torch::Tensor source_padding_BS = {};  ///< bool, true = padding
  torch::Tensor segment_BS = {};         ///< as ForwardContext's; language models alone read it
  torch::Tensor previous_BU = {};  ///< int64 [B,U], what the decoder of an encoder-decoder reads
  torch::Tensor previous_padding_BU = {};  ///< bool
};

/// What a model makes of it: features before the output projection, and what its routers did
/// (StackOutput; an encoder's layers come before the decoder's).
using ModelOutput = StackOutput;

/// The loss of predicting tokens from features.
struct TokenLoss {
  torch::Tensor loss;   ///< float64 scalar on the graph, a sum over the tokens, in nats
  double nll = 0;       ///< the same without label smoothing
  int64_t correct = 0;  ///< tokens that were the most probable; counted where it is asked for
};

struct TokenLossOptions {
  int64_t ignore_index = -1;  ///< targets that do not count
  double label_smoothing = 0.0;
  bool count_correct = false;
  std::optional<NoiseKey> dropout_noise;  ///< in training: of the dropout that an output has
};

/// A Transformer that predicts tokens: what trainer, criterions, generation and checkpoints know of
/// it.
class Model : public torch::nn::Module {
 public:
  /// Shapes and errors are those of the model's own forward functions.
  virtual ModelOutput forward(const ModelInput& input, const ForwardContext& context) = 0;

  /// The loss of target_N int64 [N] given features x_ND [N,D].
  virtual TokenLoss token_loss(const torch::Tensor& x_ND, const torch::Tensor& target_N,
                               const TokenLossOptions& options);
  /// The log-probabilities float [N,V] of all tokens given features x_ND.
  virtual torch::Tensor log_probability(const torch::Tensor& x_ND);
  /// Those float [N] of the tokens target_N, off the graph, without holding [N,V].
  virtual torch::Tensor log_probability_of(const torch::Tensor& x_ND,
                                           const torch::Tensor& target_N);

  /// Sets all parameters from the seed. Before that or loading, the values of the experts are
  /// undefined and embeddings are zero.
  virtual void initialise(uint64_t seed) = 0;

  /// (layer, MoE layer) of the MoE layers, in order.
  virtual std::vector<std::pair<int64_t, MoELayer>> moe_layers() const = 0;

  virtual int64_t padding_index() const = 0;

  /// Floating-point operations that a training update executes for a batch of this shape whose
  /// forward pass gave `output`: 2 x (3 x the multiply-adds of the forward pass + those that are
  /// recomputed). Matrix products only.
  virtual double training_flops(const ModelInput& input, const ModelOutput& output) const = 0;

 protected:
  /// The output projection [V,D]: logits = output_features(x) . output_weight^T + output_bias.
  virtual const torch::Tensor& output_weight() const = 0;
  virtual torch::Tensor output_bias() const { return {}; }  ///< [V], or undefined
  virtual torch::Tensor output_features(const torch::Tensor& x_ND) { return x_ND; }
};

using ModelPtr = std::shared_ptr<Model>;

}  // namespace evomoe
