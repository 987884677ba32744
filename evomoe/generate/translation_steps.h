#pragma once

#include "evomoe/generate/beam_search.h"
#include "evomoe/models/encoder_decoder.h"

namespace evomoe {

/// Translations of a batch of sources by an encoder-decoder, for beam_search(). Each source is
/// encoded once; its keys and values are made once.
class TranslationSteps : public NextTokens {
 public:
  /// source_BS int64 [B,S], padded on either side. `context`: that of an evaluation; its padding
  /// and cache are not used.
  TranslationSteps(EncoderDecoder model, const torch::Tensor& source_BS,
                   const ForwardContext& context);

  int64_t max_positions() const override { return model_->options().decoder.max_positions; }
  torch::Tensor next(const torch::Tensor& token_N) override;
  void reorder(const torch::Tensor& order_N) override;

 private:
  EncoderDecoder model_;
  ForwardContext context_;
  KeyValueCache cache_;
  Memory memory_;
};

}  // namespace evomoe
