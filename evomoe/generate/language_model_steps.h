#pragma once

#include "evomoe/generate/beam_search.h"
#include "evomoe/models/gpt.h"

namespace evomoe {

/// Texts that a language model goes on with, for beam_search(): what they begin with is its prefix.
class LanguageModelSteps : public NextTokens {
 public:
  /// `context`: that of an evaluation; its cache is not used.
  LanguageModelSteps(Gpt model, const ForwardContext& context);

  int64_t max_positions() const override { return model_->options().max_positions; }
  torch::Tensor next(const torch::Tensor& token_N) override;
  void reorder(const torch::Tensor& order_N) override;

 private:
  Gpt model_;
  ForwardContext context_;
  KeyValueCache cache_;
  torch::Device device_;
};

}  // namespace evomoe
