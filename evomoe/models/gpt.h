#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "evomoe/models/adaptive_softmax.h"
#include "evomoe/models/model.h"

namespace evomoe {

/// Options of the decoder-only Transformer language model (docs/reference.md sections 7.2
/// and 7.5).
struct GptOptions : TransformerStackOptions {
  bool tie_embeddings = false;              ///< one matrix for input and output
  AdaptiveSoftmaxOptions adaptive_softmax;  ///< of the output; no bands: a plain projection
};

/// GPT with dense or MoE feed-forward blocks. Parameter names are the reference's, but for the
/// experts, which are stacked.
class GptImpl : public Model {
 public:
  explicit GptImpl(const GptOptions& options);

  /// token_BS int64 [B,S] right-padded. `context.padding_BS` must mark the padding, if there is
  /// any.
  ModelOutput forward(const torch::Tensor& token_BS, const ForwardContext& context);
  ModelOutput forward(const ModelInput& input, const ForwardContext& context) override;

  TokenLoss token_loss(const torch::Tensor& x_ND, const torch::Tensor& target_N,
                       const TokenLossOptions& options) override;
  torch::Tensor log_probability(const torch::Tensor& x_ND) override;
  torch::Tensor log_probability_of(const torch::Tensor& x_ND,
                                   const torch::Tensor& target_N) override;

  /// The output projection [V,D]: logits = x . output_weight^T. Error with adaptive softmax, which
  /// has none.
  const torch::Tensor& output_weight() const override;
  void initialise(uint64_t seed) override;
  std::vector<std::pair<int64_t, MoELayer>> moe_layers() const override;
  int64_t padding_index() const override { return options_.padding_index; }
  double training_flops(const ModelInput& input, const ModelOutput& output) const override;

  const GptOptions& options() const { return options_; }

 private:
  GptOptions options_;
  TransformerStack decoder_{nullptr};
  torch::Tensor output_projection_;  // [V,D] when not tied
  AdaptiveSoftmax adaptive_softmax_{nullptr};
};
TORCH_MODULE(Gpt);

}  // namespace evomoe
