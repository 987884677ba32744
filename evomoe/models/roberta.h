#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "evomoe/models/model.h"

namespace evomoe {

/// A head that classifies whole sequences by the features of their first token.
struct ClassificationHeadOptions {
  std::string name = "sentence_classification_head";
  int64_t classes = 2;
  std::string activation = "tanh";  ///< tanh, relu, gelu or linear
  double dropout = 0.0;
};

/// Options of RoBERTa (docs/reference.md section 7.3).
struct RobertaOptions : TransformerStackOptions {
  RobertaOptions();
  bool untie_weights = false;  ///< the output projection has weights of its own
  std::vector<ClassificationHeadOptions> heads_of_sentences;

  /// Throws UsageError naming flag, value and what is allowed.
  void validate() const;
};

/// RoBERTa (Liu et al., arXiv 1907.11692) with dense or MoE feed-forward blocks: a bidirectional
/// encoder with a language-model head. Parameter names are the reference's, but for the experts,
/// which are stacked.
class RobertaImpl : public Model {
 public:
  explicit RobertaImpl(const RobertaOptions& options);

  ModelOutput forward(const ModelInput& input, const ForwardContext& context) override;
  /// Logits [B,C] of a head, from the features x_BSD of whole sequences.
  torch::Tensor classify(const torch::Tensor& x_BSD, const std::string& head,
                         const ForwardContext& context);

  /// All weights N(0, 0.02), biases 0 (BERT's); a head of sentences like torch::nn::Linear.
  void initialise(uint64_t seed) override;
  std::vector<std::pair<int64_t, MoELayer>> moe_layers() const override;
  int64_t padding_index() const override { return options_.padding_index; }
  double training_flops(const ModelInput& input, const ModelOutput& output) const override;
  const RobertaOptions& options() const { return options_; }

 protected:
  const torch::Tensor& output_weight() const override;
  torch::Tensor output_bias() const override { return lm_bias_V_; }
  torch::Tensor output_features(const torch::Tensor& x_ND) override;

 private:
  struct Head {
    ClassificationHeadOptions options;
    Linear dense{nullptr}, out_proj{nullptr};
  };

  RobertaOptions options_;
  TransformerStack encoder_{nullptr};
  Linear lm_dense_{nullptr};
  Norm lm_layer_norm_{nullptr};
  torch::Tensor lm_bias_V_;
  torch::Tensor lm_weight_VD_;  // when untied
  std::vector<Head> heads_;
};
TORCH_MODULE(Roberta);

}  // namespace evomoe
