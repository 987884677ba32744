// Decoder-only Transformers that predict the next token: GPT.
#include <fmt/format.h>

#include "evomoe/base/error.h"
#include "evomoe/fairseq/fairseq_tensors.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/train/model_family.h"

namespace evomoe {

GptOptions gpt_options(const TrainOptions& options, int64_t vocab_size, int64_t padding_index,
                       bool shared_expert) {
  const auto& model = options.model;
  const auto& architecture = architecture_of(options);
  GptOptions gpt;
  gpt.vocab_size = vocab_size;
  fill_stack(gpt, options, architecture, padding_index, shared_expert);
  fill_decoder(gpt, options, architecture);
  gpt.max_positions = model.max_target_positions.value_or(options.task.tokens_per_sample) +
                      (options.task.add_bos_token ? 1 : 0);
  gpt.scale_embedding = !model.no_scale_embedding.value_or(false);
  gpt.tie_embeddings = architecture.tied || model.share_decoder_input_output_embed.value_or(false);
  const bool adaptive = !architecture.cutoffs.empty();
  if (model.adaptive_input || adaptive) {
    gpt.adaptive_input = {model.adaptive_input_cutoff.value_or(architecture.cutoffs),
                          model.adaptive_input_factor.value_or(4)};
    if (!gpt.adaptive_input.used())
      fail_usage("--adaptive-input needs --adaptive-input-cutoff, e.g. 20000,60000");
  }
  if (model.adaptive_softmax_cutoff || adaptive) {
    gpt.adaptive_softmax = {
        {model.adaptive_softmax_cutoff.value_or(architecture.cutoffs),
         model.adaptive_softmax_factor.value_or(4)},
        model.tie_adaptive_weights || adaptive,
        model.tie_adaptive_proj || adaptive,
        model.adaptive_softmax_dropout.value_or(architecture.adaptive_softmax_dropout)};
  }
  gpt.final_norm = architecture.final_norm && !model.no_decoder_final_norm.value_or(false);
  return gpt;
}

namespace {

class LanguageModelFamily : public ModelFamily {
 public:
  std::vector<TransformerStackOptions> stacks(const TrainOptions& options,
                                              const Vocabulary& vocabulary,
                                              bool shared_expert) const override {
    return {gpt_options(options, vocabulary.target, vocabulary.padding, shared_expert)};
  }

  ModelPtr make(const TrainOptions& options, const Vocabulary& vocabulary,
                bool shared_expert) const override {
    return std::make_shared<GptImpl>(
        gpt_options(options, vocabulary.target, vocabulary.padding, shared_expert));
  }

  void check(const TrainOptions& options) const override {
    gpt_options(options, /*vocab_size=*/0, Dictionary::kPad, /*shared_expert=*/false).validate();
  }

  MemoryEstimate memory(const TrainOptions& options, const Vocabulary& vocabulary,
                        const LargestBatch& batch, const StateBytes& state) const override {
    const auto model = gpt_options(options, vocabulary.target, vocabulary.padding,
                                   /*shared_expert=*/false);
    if (model.adaptive_input.used() || model.adaptive_softmax.bands.used()) {
      fail_usage("--memory-budget {} does not know what adaptive input and softmax take",
                 *options.resources.memory_budget);
    }
    return estimate_memory(model, batch, state);
  }

  const HalfOptions& main_half(const ModelOptions& options) const override {
    return options.decoder;
  }
  std::optional<int64_t>& positions(ModelOptions& options) const override {
    return options.max_target_positions;
  }
  std::string positions_option() const override { return "max-target-positions"; }
  int64_t default_positions(const TrainOptions& options) const override {
    return options.task.tokens_per_sample;
  }

  OptionValues values(const TrainOptions& options) const override {
    const auto gpt = gpt_options(options, Dictionary::kSpecials, Dictionary::kPad,
                                 /*shared_expert=*/false);
    return {{"share-decoder-input-output-embed", fmt::format("{}", gpt.tie_embeddings)},
            {"no-decoder-final-norm", fmt::format("{}", !gpt.final_norm)}};
  }

  std::vector<std::pair<std::string, torch::Tensor>> fairseq_extras(
      const TensorMap& model) const override {
    FairseqTensors extras(model);
    extras.add_stack("decoder");
    const std::string bands = "decoder.embed_tokens.embeddings.",
                      softmax = "decoder.adaptive_softmax.";
    if (extras.has(bands + "0.0.weight"))
      extras.add("decoder.embed_tokens._float_tensor", torch::zeros({1}));
    if (extras.has(softmax + "head.class_proj.weight")) {  // tied
      extras.add(softmax + "head._float_tensor", torch::zeros({1}));
      extras.copy(softmax + "head.word_proj.weight", bands + "0.0.weight");
      for (int64_t i = 1; extras.has(fmt::format("{}{}.0.weight", bands, i)); ++i) {
        extras.copy(fmt::format("{}tail.{}.0.weight", softmax, i - 1),
                    fmt::format("{}{}.1.weight", bands, i));
        extras.copy(fmt::format("{}tail.{}.2.weight", softmax, i - 1),
                    fmt::format("{}{}.0.weight", bands, i));
      }
    }
    if (extras.has(softmax + "head.class_proj.weight") || extras.has(softmax + "head.weight")) {
      extras.add(softmax + "version", torch::tensor({int64_t{1}}));
    } else if (extras.has("decoder.embed_tokens.weight")) {
      extras.copy("decoder.output_projection.weight", "decoder.embed_tokens.weight");
    }
    return extras.take();
  }
};

}  // namespace

std::unique_ptr<ModelFamily> make_language_model_family() {
  return std::make_unique<LanguageModelFamily>();
}

}  // namespace evomoe
