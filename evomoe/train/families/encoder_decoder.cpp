// Encoder-decoders, which read one sequence and predict another.
#include <fmt/format.h>

#include "evomoe/fairseq/fairseq_tensors.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/train/model_family.h"

namespace evomoe {

EncoderDecoderOptions encoder_decoder_options(const TrainOptions& options,
                                              const Vocabulary& vocabulary, bool shared_expert) {
  const auto& model = options.model;
  const auto& architecture = architecture_of(options);
  EncoderDecoderOptions pair;
  pair.encoder.half = "encoder";
  for (auto* stack : {&pair.encoder, &pair.decoder}) {
    fill_stack(*stack, options, architecture, vocabulary.padding, shared_expert);
    stack->scale_embedding = !model.no_scale_embedding.value_or(false);
  }
  fill_encoder(pair.encoder, options, architecture);
  fill_decoder(pair.decoder, options, architecture);
  pair.encoder.vocab_size = vocabulary.source;
  pair.decoder.vocab_size = vocabulary.target;
  pair.encoder.max_positions = model.max_source_positions.value_or(kPairPositions);
  pair.decoder.max_positions = model.max_target_positions.value_or(kPairPositions);
  pair.decoder.norm_first = model.decoder.normalize_before.value_or(architecture.norm_first);
  pair.decoder.final_norm = pair.decoder.norm_first && !model.no_decoder_final_norm.value_or(false);
  pair.share_all_embeddings = model.share_all_embeddings.value_or(false);
  pair.tie_decoder_embeddings = model.share_decoder_input_output_embed.value_or(false);
  return pair;
}

namespace {

class EncoderDecoderFamily : public ModelFamily {
 public:
  std::vector<TransformerStackOptions> stacks(const TrainOptions& options,
                                              const Vocabulary& vocabulary,
                                              bool shared_expert) const override {
    const auto pair = encoder_decoder_options(options, vocabulary, shared_expert);
    return {pair.encoder, pair.decoder};
  }

  ModelPtr make(const TrainOptions& options, const Vocabulary& vocabulary,
                bool shared_expert) const override {
    return std::make_shared<EncoderDecoderImpl>(
        encoder_decoder_options(options, vocabulary, shared_expert));
  }

  void check(const TrainOptions& options) const override {
    encoder_decoder_options(options, {.padding = Dictionary::kPad}, /*shared_expert=*/false)
        .validate();
  }

  MemoryEstimate memory(const TrainOptions& options, const Vocabulary& vocabulary,
                        const LargestBatch& batch, const StateBytes& state) const override {
    return estimate_memory(encoder_decoder_options(options, vocabulary, /*shared_expert=*/false),
                           batch, state);
  }

  const HalfOptions& main_half(const ModelOptions& options) const override {
    return options.decoder;
  }
  std::optional<int64_t>& positions(ModelOptions& options) const override {
    return options.max_target_positions;
  }
  std::string positions_option() const override { return "max-target-positions"; }
  int64_t default_positions(const TrainOptions&) const override { return kPairPositions; }

  OptionValues values(const TrainOptions& options) const override {
    const auto pair = encoder_decoder_options(
        options, Vocabulary::of_one(Dictionary::kSpecials, Dictionary::kPad),
        /*shared_expert=*/false);
    return {{"share-all-embeddings", fmt::format("{}", pair.share_all_embeddings)},
            {"share-decoder-input-output-embed", fmt::format("{}", pair.tie_decoder_embeddings)},
            {"no-decoder-final-norm", fmt::format("{}", !pair.decoder.final_norm)}};
  }

  std::vector<std::pair<std::string, torch::Tensor>> fairseq_extras(
      const TensorMap& model) const override {
    FairseqTensors extras(model);
    for (const auto* stack : {"encoder", "decoder"}) extras.add_stack(stack);
    const std::string own = "decoder.embed_tokens.weight";
    const std::string shared = extras.has(own) ? own : "encoder.embed_tokens.weight";
    extras.copy(own, shared);
    extras.copy("decoder.output_projection.weight", shared);
    return extras.take();
  }
};

}  // namespace

std::unique_ptr<ModelFamily> make_encoder_decoder_family() {
  return std::make_unique<EncoderDecoderFamily>();
}

}  // namespace evomoe
