#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "evomoe/models/model.h"

namespace evomoe {

/// Options of the encoder-decoder Transformer (docs/reference.md section 7.4).
struct EncoderDecoderOptions {
  TransformerStackOptions encoder, decoder;
  bool share_all_embeddings = false;    ///< one matrix for both inputs and the output
  bool tie_decoder_embeddings = false;  ///< one for the decoder's input and the output

  /// Throws UsageError naming flag, value and what is allowed.
  void validate() const;
};

/// The encoder-decoder Transformer (Vaswani et al. 2017) with dense or MoE feed-forward blocks in
/// both halves. Layers are numbered through: the decoder's come behind the encoder's. Parameter
/// names are the reference's, but for the experts, which are stacked.
class EncoderDecoderImpl : public Model {
 public:
  explicit EncoderDecoderImpl(const EncoderDecoderOptions& options);

  /// The encoder's pass over the source and the decoder's over what it has made before.
  ModelOutput forward(const ModelInput& input, const ForwardContext& context) override;

  /// The encoder alone: source_BS int64 [B,S], padded on either side (context.padding_BS).
  StackOutput encode(const torch::Tensor& source_BS, const ForwardContext& context);
  /// The decoder alone: previous_BU int64 [B,U] (with a cache: the new tokens only), given the
  /// encoder's output for the same sequences.
  StackOutput decode(const torch::Tensor& previous_BU, const Memory& memory,
                     const ForwardContext& context);

  void initialise(uint64_t seed) override;
  std::vector<std::pair<int64_t, MoELayer>> moe_layers() const override;
  int64_t padding_index() const override { return options_.decoder.padding_index; }
  double training_flops(const ModelInput& input, const ModelOutput& output) const override;
  const EncoderDecoderOptions& options() const { return options_; }
  torch::Device device() const { return encoder_->embedding().device(); }

 protected:
  const torch::Tensor& output_weight() const override;

 private:
  EncoderDecoderOptions options_;
  TransformerStack encoder_{nullptr}, decoder_{nullptr};
  torch::Tensor output_projection_;  // [V,D] when not tied
};
TORCH_MODULE(EncoderDecoder);

}  // namespace evomoe
