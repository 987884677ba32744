// RoBERTa: encoders that predict masked tokens, or classify sentences.
#include <fmt/format.h>

#include "evomoe/config/option_table.h"
#include "evomoe/fairseq/fairseq_tensors.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/train/model_family.h"
#include "evomoe/train/task.h"

namespace evomoe {

namespace {

constexpr int64_t kRobertaPositions = 512;

}  // namespace

RobertaOptions roberta_options(const TrainOptions& options, int64_t vocab_size,
                               int64_t padding_index, bool shared_expert) {
  const auto& model = options.model;
  const auto& architecture = architecture_of(options);
  RobertaOptions roberta;
  roberta.vocab_size = vocab_size;
  fill_stack(roberta, options, architecture, padding_index, shared_expert);
  fill_encoder(roberta, options, architecture);
  roberta.max_positions = model.max_positions.value_or(kRobertaPositions);
  roberta.untie_weights = model.untie_weights_roberta;
  roberta.heads_of_sentences = find_task(options.task.task).heads(options);
  return roberta;
}

namespace {

std::vector<Architecture> roberta_architectures() {
  // clang-format off
  return {
      {.name = "roberta", .layers = 12, .embed_dim = 768, .ffn_dim = 3072, .heads = 12,
       .activation = "gelu", .positions = PositionKind::kLearned, .attention_dropout = .1, .tied = true,
       .norm_first = false, .embedding_norm = true},
      {.name = "roberta_base", .layers = 12, .embed_dim = 768, .ffn_dim = 3072, .heads = 12,
       .activation = "gelu", .positions = PositionKind::kLearned, .attention_dropout = .1, .tied = true,
       .norm_first = false, .embedding_norm = true},
      {.name = "roberta_prenorm", .layers = 12, .embed_dim = 768, .ffn_dim = 3072, .heads = 12,
       .activation = "gelu", .positions = PositionKind::kLearned, .attention_dropout = .1, .tied = true},
      {.name = "roberta_large", .layers = 24, .embed_dim = 1024, .ffn_dim = 4096, .heads = 16,
       .activation = "gelu", .positions = PositionKind::kLearned, .attention_dropout = .1, .tied = true,
       .norm_first = false, .embedding_norm = true},
      {.name = "roberta_large_moe", .layers = 24, .embed_dim = 1024, .ffn_dim = 4096, .heads = 16,
       .activation = "gelu", .positions = PositionKind::kLearned, .attention_dropout = .1, .tied = true,
       .norm_first = false, .embedding_norm = true},
      {.name = "roberta_xl", .layers = 48, .embed_dim = 1600, .ffn_dim = 6400, .heads = 25,
       .activation = "gelu", .positions = PositionKind::kLearned, .attention_dropout = .1, .tied = true,
       .norm_first = false, .embedding_norm = true},
      {.name = "xlm", .layers = 16, .embed_dim = 1280, .ffn_dim = 5120, .heads = 16,
       .activation = "gelu", .positions = PositionKind::kLearned, .attention_dropout = .1, .tied = true,
       .norm_first = false, .embedding_norm = true},
  };
  // clang-format on
}

class RobertaFamily : public ModelFamily {
 public:
  RobertaFamily()
      : ModelFamily({.name = "roberta",
                     .words = "a masked language model",
                     .task = "masked_lm",
                     .encoder = true,
                     .architectures = roberta_architectures()}) {}

  void describe(OptionTable& table, ModelOptions& options) const override {
    table
        .add("pooler-activation-fn", &options.pooler_activation_fn,
             "Activation of the classification head.")
        .choices({"tanh", "relu", "gelu", "linear"});
    table.add("pooler-dropout", &options.pooler_dropout, "Dropout of the classification head.")
        .range(0, 1);
    table.add("untie-weights-roberta", &options.untie_weights_roberta,
              "Separate input and output embeddings.");
    table.add("max-positions", &options.max_positions, "Positions of the model; not given: 512.")
        .range(1, 1 << 20);
  }

  std::vector<TransformerStackOptions> stacks(const TrainOptions& options,
                                              const Vocabulary& vocabulary,
                                              bool shared_expert) const override {
    return {roberta_options(options, vocabulary.source, vocabulary.padding, shared_expert)};
  }

  ModelPtr make(const TrainOptions& options, const Vocabulary& vocabulary,
                bool shared_expert) const override {
    return std::make_shared<RobertaImpl>(
        roberta_options(options, vocabulary.source, vocabulary.padding, shared_expert));
  }

  void check(const TrainOptions& options) const override {
    roberta_options(options, /*vocab_size=*/0, Dictionary::kPad, /*shared_expert=*/false)
        .validate();
  }

  MemoryEstimate memory(const TrainOptions& options, const Vocabulary& vocabulary,
                        const LargestBatch& batch, const StateBytes& state) const override {
    return estimate_memory(roberta_options(options, vocabulary.source, vocabulary.padding,
                                           /*shared_expert=*/false),
                           batch, state);
  }

  const HalfOptions& main_half(const ModelOptions& options) const override {
    return options.encoder;
  }
  std::optional<int64_t>& positions(ModelOptions& options) const override {
    return options.max_positions;
  }
  std::string positions_option() const override { return "max-positions"; }
  int64_t default_positions(const TrainOptions&) const override { return kRobertaPositions; }

  OptionValues values(const TrainOptions& options) const override {
    const auto roberta = roberta_options(options, Dictionary::kSpecials, Dictionary::kPad,
                                         /*shared_expert=*/false);
    return {{"untie-weights-roberta", fmt::format("{}", roberta.untie_weights)},
            {"num-classes", fmt::format("{}", options.task.num_classes)}};
  }

  std::vector<std::pair<std::string, torch::Tensor>> fairseq_extras(
      const TensorMap& model) const override {
    FairseqTensors extras(model);
    extras.add_version("encoder.sentence_encoder");
    extras.copy("encoder.lm_head.weight", "encoder.sentence_encoder.embed_tokens.weight");
    return extras.take();
  }
};

}  // namespace

std::unique_ptr<ModelFamily> make_roberta_family() { return std::make_unique<RobertaFamily>(); }

}  // namespace evomoe
