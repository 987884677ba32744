#include "evomoe/models/encoder_decoder.h"

#include <ATen/record_function.h>

#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/models/initialisation.h"
#include "evomoe/models/parameter_kinds.h"

namespace evomoe {
namespace {

EncoderDecoderOptions completed(EncoderDecoderOptions options) {
  auto& encoder = options.encoder;
  encoder.half = "encoder";
  encoder.causal = false;
  encoder.zero_padding = true;
  encoder.first_layer = 0;
  auto& decoder = options.decoder;
  decoder.half = "decoder";
  decoder.cross_attention = true;
  decoder.first_layer = encoder.layers;
  return options;
}

}  // namespace

void EncoderDecoderOptions::validate() const {
  const auto options = completed(*this);
  options.encoder.validate();
  options.decoder.validate();
  if (encoder.embed_dim != decoder.embed_dim) {
    fail_usage(
        "--encoder-embed-dim {} and --decoder-embed-dim {} differ: the decoder attends to the "
        "encoder's output; make them equal",
        encoder.embed_dim, decoder.embed_dim);
  }
  if (share_all_embeddings && encoder.vocab_size != decoder.vocab_size) {
    fail_usage(
        "--share-all-embeddings needs one dictionary for both languages, and they have {} and {} "
        "symbols; make the data with `evomoe preprocess --joined-dictionary`",
        encoder.vocab_size, decoder.vocab_size);
  }
}

EncoderDecoderImpl::EncoderDecoderImpl(const EncoderDecoderOptions& options)
    : options_(completed(options)) {
  options_.validate();
  encoder_ = register_module("encoder", TransformerStack(options_.encoder));
  const bool shared = options_.share_all_embeddings;
  decoder_ = register_module(
      "decoder",
      TransformerStack(options_.decoder, shared ? encoder_->embedding() : torch::Tensor()));
  if (shared) encoder_->set_tied();
  if (shared || options_.tie_decoder_embeddings) {
    decoder_->set_tied();
  } else {
    output_projection_ =
        decoder_->register_module("output_projection", module_of_kind(ParameterKind::kHead))
            ->register_parameter(
                "weight", torch::zeros({options_.decoder.vocab_size, options_.decoder.embed_dim}));
  }
}

StackOutput EncoderDecoderImpl::encode(const torch::Tensor& source_BS,
                                       const ForwardContext& given) {
  auto context = given;
  context.cache = nullptr;
  return encoder_->forward(source_BS, context);
}

StackOutput EncoderDecoderImpl::decode(const torch::Tensor& previous_BU, const Memory& memory,
                                       const ForwardContext& context) {
  return decoder_->forward(previous_BU, context, &memory);
}

ModelOutput EncoderDecoderImpl::forward(const ModelInput& input, const ForwardContext& given) {
  RECORD_USER_SCOPE("forward");
  EVOMOE_CHECK(input.previous_BU.defined(),
               "an encoder-decoder needs what its decoder reads; the batch has none");
  auto context = given;
  context.padding_BS = input.source_padding_BS;
  auto output = encode(input.source_BS, context);
  const Memory memory{output.x_BSD, input.source_padding_BS};
  context.padding_BS = input.previous_padding_BU;
  auto decoded = decode(input.previous_BU, memory, context);
  output.x_BSD = decoded.x_BSD;
  for (auto& losses : decoded.losses) output.losses.push_back(std::move(losses));
  for (auto& stats : decoded.stats) output.stats.push_back(std::move(stats));
  return output;
}

const torch::Tensor& EncoderDecoderImpl::output_weight() const {
  return output_projection_.defined() ? output_projection_ : decoder_->embedding();
}

void EncoderDecoderImpl::initialise(uint64_t seed) {
  encoder_->initialise(seed, "encoder");
  decoder_->initialise(seed, "decoder");
  if (output_projection_.defined()) {
    init_normal(output_projection_,
                1.0 / std::sqrt(static_cast<double>(options_.decoder.embed_dim)), seed,
                "decoder.output_projection.weight");
  }
}

std::vector<std::pair<int64_t, MoELayer>> EncoderDecoderImpl::moe_layers() const {
  auto layers = encoder_->moe_layers();
  for (auto& layer : decoder_->moe_layers()) layers.push_back(layer);
  return layers;
}

double EncoderDecoderImpl::training_flops(const ModelInput& input,
                                          const ModelOutput& output) const {
  const auto source = input.source_BS.numel(), target = input.previous_BU.numel();
  const auto length = input.source_BS.size(1);
  const auto encoder = encoder_->work(source, length, output.stats);
  const auto decoder =
      decoder_->work(target, input.previous_BU.size(1), output.stats, source, length);
  const auto& of = options_.decoder;
  const auto projection =
      static_cast<double>(target) * static_cast<double>(of.vocab_size * of.embed_dim);
  return 2 * (3 * (encoder.forward + decoder.forward + projection) + encoder.recomputed +
              decoder.recomputed);
}

}  // namespace evomoe
