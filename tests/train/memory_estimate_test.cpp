#include "evomoe/train/memory_estimate.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "evomoe/models/parameter_kinds.h"
#include "evomoe/ops/linear_cross_entropy.h"
#include "evomoe/optim/adafactor.h"
#include "evomoe/optim/muon.h"
#include "evomoe/optim/optimizer.h"
#include "evomoe/routing/capacity.h"
#include "evomoe/train/criterion.h"
#include "tests/testing/tensor_memory.h"

namespace evomoe {
namespace {

constexpr int64_t kRows = 8, kColumns = 128, kTokens = kRows * kColumns, kPaddingIndex = 1;

GptOptions dense() {
  GptOptions options;
  options.vocab_size = 500;
  options.padding_index = kPaddingIndex;
  options.layers = 6;
  options.embed_dim = 64;
  options.ffn_dim = 256;
  options.heads = 4;
  options.max_positions = kColumns;
  options.activation = "gelu";
  options.dropout = 0.1;
  return options;
}

GptOptions mixture(const std::string& method) {
  auto options = dense();
  options.moe_freq = 2;
  options.moe.router.method = method;
  options.moe.router.num_experts = 8;
  return options;
}

/// What Adafactor and Muon keep together: it depends on the kinds and on both axes of matrices.
int64_t kept_state(ParameterKind kind, const std::vector<int64_t>& sizes) {
  static const Adafactor adafactor({});
  static const Muon muon({});
  return state_bytes(adafactor, kind, sizes, /*offload=*/false) +
         state_bytes(muon, kind, sizes, /*offload=*/false);
}

/// What one update really takes, beside parameters and their gradients.
struct Measured {
  int64_t parameters = 0, gradients = 0, moments = 0;
  int64_t kept = 0;  ///< when the forward pass is over
  int64_t peak = 0;
};

Measured measure(Model& model, const DeviceBatch& batch, const Criterion& criterion) {
  model.initialise(1);
  SelfCommunicator communicator;
  ForwardContext context;
  context.training = true;
  context.communicator = &communicator;

  Measured measured;
  for (const auto& parameter : model.parameters())
    measured.parameters += static_cast<int64_t>(parameter.nbytes());
  // The gradients of the first update stay.
  for (int update = 0; update < 2; ++update) {
    const testing::TensorMemory memory;
    const auto output = model.forward(batch.input, context);
    measured.kept = memory.held();
    criterion(model, output, batch, context).loss.backward();
    measured.peak = memory.peak();
  }
  const auto kinds = parameter_kinds(model);
  for (const auto& item : model.named_parameters()) {
    const auto& gradient = item.value().grad();
    if (!gradient.defined()) continue;
    measured.gradients += static_cast<int64_t>(gradient.nbytes());
    measured.moments += kept_state(kinds.at(item.key()), gradient.sizes().vec());
  }
  return measured;
}

torch::Tensor some_tokens() {
  return (torch::arange(kRows * kColumns) % 400 + 3).view({kRows, kColumns});
}

/// `of_loss`: what the loss takes of the workspace, which need not be held together with that of a
/// layer.
void expect_near(const std::string& name, const MemoryEstimate& estimate, const Measured& measured,
                 int64_t of_loss) {
  const auto ratio = [](int64_t a, int64_t b) {
    return static_cast<double>(a) / static_cast<double>(b);
  };
  EXPECT_EQ(estimate.gradients, measured.gradients) << name;
  EXPECT_EQ(estimate.moments, measured.moments) << name;
  EXPECT_GE(estimate.parameters, measured.parameters) << name;
  EXPECT_NEAR(ratio(estimate.activations, measured.kept), 1, 0.05)
      << name << ": estimated " << estimate.activations << ", kept " << measured.kept;
  // The workspace of the loss and that of a layer count together, although they are not held at
  // once: memory that is free in between is not given back.
  const auto most = estimate.activations + estimate.workspace;
  EXPECT_GE(ratio(most, measured.peak), 0.97) << name << ": " << most << " " << measured.peak;
  EXPECT_LE(ratio(most - of_loss, measured.peak), 1.15)
      << name << ": " << most << " - " << of_loss << " " << measured.peak;
}

int64_t of_loss(int64_t rows, const TransformerStackOptions& options) {
  const auto V = options.vocab_size;
  return 4 * (logit_rows(rows, V) * V + 2 * V * options.embed_dim);
}

void expect_estimate(const std::string& name, const GptOptions& options) {
  const auto token_BS = some_tokens();
  Gpt model(options);
  const auto measured = measure(*model, {{token_BS}, token_BS.roll(1, 1), kRows, kTokens},
                                Criterion(CriterionOptions(), kPaddingIndex));
  EXPECT_EQ(measured.gradients, measured.parameters) << name;
  expect_near(name, estimate_memory(options, {kTokens, kColumns, kTokens}, kept_state), measured,
              of_loss(kTokens, options));
}

TEST(MemoryEstimate, IsWhatADenseModelTakes) {
  expect_estimate("gelu", dense());
  auto options = dense();
  options.activation = "relu";
  options.activation_dropout = 0.1;
  options.positions = PositionKind::kLearned;
  options.tie_embeddings = true;
  expect_estimate("relu", options);
  options = dense();
  options.attention_dropout = 0.1;
  expect_estimate("attention dropout", options);
  options = dense();
  options.moe_freq = 2;
  options.dense_ffn_dim_of_moe_layers = 512;
  expect_estimate("pseudo MoE", options);
}

TEST(MemoryEstimate, IsWhatAMixtureTakesWithAllItsAssignments) {
  expect_estimate("dts", mixture("dts"));
  expect_estimate("dense", mixture("dense"));
  expect_estimate("switch", mixture("switch"));
  auto options = mixture("topk");
  options.moe.router.get<CapacityOptions>().train_factor = 0;
  expect_estimate("topk", options);
}

TEST(MemoryEstimate, OfARankCountsItsShare) {
  const auto options = mixture("switch");
  const auto whole = estimate_memory(options, {kTokens, kColumns, kTokens}, kept_state);
  Gpt model(options);
  std::vector<int64_t> bytes_of_block(whole.blocks.size());
  int64_t experts = 0, outside = 0;
  const auto kinds = parameter_kinds(*model);
  for (const auto& item : model->named_parameters()) {
    const auto bytes = static_cast<int64_t>(item.value().nbytes());
    if (kinds.at(item.key()) == ParameterKind::kExpert) experts += bytes;
    const std::string layers = "decoder.layers.";
    if (item.key().starts_with(layers)) {
      bytes_of_block.at(std::stoul(item.key().substr(layers.size()))) += bytes;
    } else {
      outside += bytes;
    }
  }
  int64_t largest = 0;
  for (size_t i = 0; i < bytes_of_block.size(); ++i) {
    EXPECT_EQ(whole.blocks[i].all.sum(), bytes_of_block[i]) << i;
    largest = std::max(largest, bytes_of_block[i]);
  }

  const auto share = [&](int64_t ranks, int64_t expert_ranks, int64_t stage, bool keep = false) {
    return share_of_rank(
        whole,
        {.ranks = ranks, .expert_ranks = expert_ranks, .zero_stage = stage, .keep_whole = keep});
  };
  EXPECT_EQ(share(1, 1, 3).total(), whole.total());
  EXPECT_EQ(share(4, 4, 0).parameters, whole.parameters - experts * 3 / 4);
  EXPECT_EQ(share(4, 4, 0).gradients, whole.gradients - experts * 3 / 4);
  EXPECT_EQ(share(4, 1, 1).parameters, whole.parameters);
  EXPECT_EQ(share(4, 1, 1).gradients, whole.gradients);
  EXPECT_NEAR(static_cast<double>(share(4, 1, 1).moments), static_cast<double>(whole.moments) / 4,
              4);
  EXPECT_EQ(share(4, 1, 2).parameters, whole.parameters);
  const auto constants = whole.parameters - whole.gradients;
  EXPECT_EQ(share(64, 1, 3).parameters, constants + whole.gradients / 64 + outside + 2 * largest);
  EXPECT_EQ(share(64, 1, 3).gradients, whole.gradients / 64 + 2 * outside + 5 * largest);
  EXPECT_EQ(share(64, 1, 3, /*keep=*/true).parameters, whole.parameters + whole.gradients / 64);
}

TEST(MemoryEstimate, IsWhatGatedExpertsTake) {
  for (const bool recompute : {false, true}) {
    auto options = mixture("dts");
    options.moe.gated = true;
    options.moe.biases = false;
    options.moe.recompute_experts = recompute;
    expect_estimate(recompute ? "recomputed" : "kept", options);
  }
}

TEST(MemoryEstimate, IsWhatSharedAndFineGrainedExpertsTake) {
  auto options = mixture("dts");
  options.moe.hidden_dim = 96;
  expect_estimate("fine-grained", options);
  options.shared_expert_dim = 192;
  expect_estimate("both", options);
  options.moe.hidden_dim = 0;
  options.shared_expert_dim = 1024;
  expect_estimate("a wide shared expert", options);
  options.checkpoint_activations = true;
  expect_estimate("recomputed", options);
}

TEST(MemoryEstimate, IsWhatRmsNormsAndRotaryPositionsTake) {
  auto options = dense();
  options.norm.kind = NormKind::kRmsNorm;
  options.embedding_norm = true;
  expect_estimate("RMS norms", options);
  options = dense();
  options.positions = PositionKind::kRotary;
  expect_estimate("rotary positions", options);
}

TEST(MemoryEstimate, IsWhatADecoderOfTodayTakes) {
  auto options = dense();
  options.norm.kind = NormKind::kRmsNorm;
  options.positions = PositionKind::kRotary;
  options.gated = true;
  options.ffn_bias = false;
  options.activation = "silu";
  options.attention_bias = "none";
  options.kv_heads = 2;
  expect_estimate("grouped queries", options);
  options.head_dim = 32;
  options.query_key_norm = "head";
  expect_estimate("norms of heads", options);
  options.query_key_norm = "width";
  options.window = 32;
  expect_estimate("norms of the width, a window", options);
}

TEST(MemoryEstimate, IsWhatRecomputationTakes) {
  auto options = mixture("dts");
  options.moe.recompute_experts = true;
  expect_estimate("experts", options);
  options.checkpoint_activations = true;
  expect_estimate("layers and experts", options);
  options.moe.recompute_experts = false;
  expect_estimate("layers", options);
  options = dense();
  options.checkpoint_activations = true;
  expect_estimate("dense layers", options);
}

TEST(MemoryEstimate, RowsWithSegmentsKeepOneMaskForAllLayers) {
  const auto token_BS = some_tokens();
  ModelInput plain{token_BS}, packed{token_BS};
  packed.segment_BS = (torch::arange(kColumns).floor_divide(40) + 1).repeat({kRows, 1});
  const auto mask = 4 * kTokens * kColumns;
  const Criterion criterion(CriterionOptions(), kPaddingIndex);
  for (const std::string kind : {"plain", "attention dropout", "recomputed", "both"}) {
    auto options = dense();
    if (kind == "attention dropout" || kind == "both") options.attention_dropout = 0.1;
    options.checkpoint_activations = kind == "recomputed" || kind == "both";
    LargestBatch batch{kTokens, kColumns, kTokens};
    const auto without = estimate_memory(options, batch, kept_state).activations;
    batch.segments = true;
    const auto estimate = estimate_memory(options, batch, kept_state);
    EXPECT_EQ(estimate.activations - without, kind == "attention dropout" ? 0 : mask) << kind;
    Gpt model(options);
    const auto target_BS = token_BS.roll(1, 1);
    const auto before = measure(*model, {plain, target_BS, kRows, kTokens}, criterion);
    const auto after = measure(*model, {packed, target_BS, kRows, kTokens}, criterion);
    // With both the plan is a sixth above the peak, which is on the safe side.
    if (kind != "both") expect_near(kind, estimate, after, of_loss(kTokens, options));
    if (kind == "attention dropout") continue;
    EXPECT_NEAR(static_cast<double>(after.kept - before.kept), static_cast<double>(mask),
                0.1 * static_cast<double>(mask))
        << kind;
  }
}

TEST(MemoryEstimate, PaddedBatchesCountInTheExperts) {
  const int64_t tokens = kRows * kColumns;
  const auto plain = estimate_memory(mixture("dts"), {tokens, kColumns, tokens}, kept_state);
  const auto padded = estimate_memory(mixture("dts"), {tokens, kColumns, 2 * tokens}, kept_state);
  EXPECT_GE(padded.activations - plain.activations, 4 * 3 * 8 * tokens * 256);
}

TEST(MemoryEstimate, WhatIsFrozenHasNeitherGradientsNorMoments) {
  const auto model = mixture("dts");
  const LargestBatch batch{kRows * kColumns, kColumns, kRows * kColumns};
  const auto whole = estimate_memory(model, batch, kept_state);
  const auto experts = estimate_memory(model, batch, [](ParameterKind kind, const auto& sizes) {
    return kind == ParameterKind::kExpert ? kept_state(kind, sizes) : kFrozen;
  });
  EXPECT_EQ(experts.gradients, whole.model().all.experts);
  EXPECT_LT(experts.moments, whole.moments);
  EXPECT_GT(experts.moments, 0);
  EXPECT_EQ(experts.parameters, whole.parameters);
}

void fill(TransformerStackOptions& options) {
  options.vocab_size = 500;
  options.layers = 6;
  options.embed_dim = 64;
  options.ffn_dim = 256;
  options.heads = 4;
  options.max_positions = kColumns;
  options.dropout = 0.1;
}

void make_mixture(TransformerStackOptions& options) {
  options.moe_freq = 2;
  options.moe.router.method = "dts";
  options.moe.router.num_experts = 8;
}

/// Dense and with experts; each with attention dropout and with recomputed layers.
template <typename Options>
std::vector<std::pair<std::string, Options>> variants(
    const Options& plain,
    const std::function<void(Options&, const std::function<void(TransformerStackOptions&)>&)>&
        change) {
  std::vector<std::pair<std::string, Options>> all;
  for (const bool experts : {false, true}) {
    for (const std::string kind : {"plain", "attention dropout", "recomputed layers"}) {
      auto options = plain;
      change(options, [&](TransformerStackOptions& stack) {
        if (experts) make_mixture(stack);
        if (kind == "attention dropout") stack.attention_dropout = 0.1;
        if (kind == "recomputed layers") stack.checkpoint_activations = true;
      });
      all.emplace_back((experts ? "experts, " : "dense, ") + kind, options);
    }
  }
  return all;
}

/// The last quarter of each second row is padding.
torch::Tensor padded(torch::Tensor token_BS) {
  token_BS.slice(0, 1, kRows, 2).slice(1, kColumns * 3 / 4).fill_(kPaddingIndex);
  return token_BS;
}

ModelInput encoder_input() {
  ModelInput input{padded(some_tokens())};
  input.source_padding_BS = input.source_BS.eq(kPaddingIndex);
  return input;
}

Criterion criterion_of(const std::string& name) {
  CriterionOptions options;
  options.criterion = name;
  return Criterion(options, kPaddingIndex, "sentences");
}

RobertaOptions roberta() {
  RobertaOptions options;
  fill(options);
  return options;
}

void change_one(RobertaOptions& options,
                const std::function<void(TransformerStackOptions&)>& change) {
  change(options);
}

TEST(MemoryEstimate, IsWhatAMaskedLanguageModelTakes) {
  const auto input = encoder_input();
  auto target_BS = torch::full_like(input.source_BS, kPaddingIndex);
  target_BS.flatten().slice(0, 0, kTokens, 7).fill_(9);
  const auto predicted = target_BS.ne(kPaddingIndex).sum().item<int64_t>();
  for (const auto& [name, options] : variants<RobertaOptions>(roberta(), change_one)) {
    Roberta model(options);
    const auto measured =
        measure(*model, {input, target_BS, kRows, kTokens}, criterion_of("masked_lm"));
    expect_near(name, estimate_memory(options, {kTokens, kColumns, kTokens, predicted}, kept_state),
                measured, of_loss(predicted, options));
  }
}

TEST(MemoryEstimate, IsWhatSentencePredictionTakes) {
  auto plain = roberta();
  plain.heads_of_sentences = {{.name = "sentences", .classes = 3}};
  const auto target_B1 = torch::arange(kRows).remainder(3).view({kRows, 1});
  for (const auto& [name, options] : variants<RobertaOptions>(plain, change_one)) {
    Roberta model(options);
    const auto measured = measure(*model, {encoder_input(), target_B1, kRows, kTokens},
                                  criterion_of("sentence_prediction"));
    expect_near(name, estimate_memory(options, {kTokens, kColumns, kTokens}, kept_state), measured,
                0);
  }
}

TEST(MemoryEstimate, IsWhatATranslationModelTakes) {
  EncoderDecoderOptions plain;
  for (auto* stack : {&plain.encoder, &plain.decoder}) {
    fill(*stack);
    stack->norm_first = stack->final_norm = false;
  }
  plain.encoder.causal = false;
  const auto change_both = [](EncoderDecoderOptions& options,
                              const std::function<void(TransformerStackOptions&)>& change) {
    change(options.encoder);
    change(options.decoder);
  };
  auto input = encoder_input();
  input.previous_BU = padded(some_tokens());
  input.previous_padding_BU = input.previous_BU.eq(kPaddingIndex);
  const auto target_BU = padded(some_tokens().roll(1, 1));
  for (auto [name, options] : variants<EncoderDecoderOptions>(plain, change_both)) {
    for (const bool shared : {false, true}) {
      options.share_all_embeddings = shared;
      EncoderDecoder model(options);
      const auto measured = measure(*model, {input, target_BU, kRows, kTokens},
                                    criterion_of("label_smoothed_cross_entropy"));
      expect_near(name + (shared ? ", shared" : ""),
                  estimate_memory(options, {kTokens, kColumns, kTokens}, kept_state), measured,
                  of_loss(kTokens, options.decoder));
    }
  }
}

/// Of ranks, in each way that they divide a run.
std::vector<RankDivision> divisions() {
  std::vector<RankDivision> all;
  for (const int64_t ranks : {1, 2, 4, 64}) {
    for (const int64_t expert_ranks : {1, 2, 4}) {
      for (const int64_t stage : {0, 1, 2, 3}) {
        for (const bool keep_whole : {false, true}) {
          if (expert_ranks <= ranks) all.push_back({ranks, expert_ranks, stage, keep_whole});
        }
      }
    }
  }
  return all;
}

std::vector<int64_t> figures(const MemoryEstimate& estimate) {
  return {estimate.parameters, estimate.gradients,   estimate.moments,
          estimate.snapshot,   estimate.activations, estimate.workspace};
}

/// Which kinds are frozen: a bit of each.
StateBytes freezing(unsigned kinds) {
  return [kinds](ParameterKind kind, const std::vector<int64_t>& sizes) {
    return (kinds >> static_cast<unsigned>(kind)) % 2 == 1 ? kFrozen : kept_state(kind, sizes);
  };
}

/// What `estimate_of` gives for any kinds that are frozen.
void expect_less_with_more_frozen(
    const std::function<MemoryEstimate(const StateBytes&)>& estimate_of) {
  const unsigned all = 1U << parameter_kind_names().size();
  std::vector<MemoryEstimate> wholes;
  for (unsigned frozen = 0; frozen < all; ++frozen) wholes.push_back(estimate_of(freezing(frozen)));
  for (const auto& division : divisions()) {
    SCOPED_TRACE(fmt::format("{} ranks, {} share experts, stage {}{}", division.ranks,
                             division.expert_ranks, division.zero_stage,
                             division.keep_whole ? ", blocks stay whole" : ""));
    std::vector<std::vector<int64_t>> of_frozen;
    for (const auto& whole : wholes) of_frozen.push_back(figures(share_of_rank(whole, division)));
    for (unsigned frozen = 0; frozen < all; ++frozen) {
      const auto& now = of_frozen[frozen];
      ASSERT_THAT(now, ::testing::Each(::testing::Ge(0))) << frozen;
      EXPECT_EQ(now.front(), of_frozen.front().front()) << "parameters stay, " << frozen;
      for (unsigned kind = 1; kind < all; kind *= 2) {
        const auto& more = of_frozen[frozen | kind];
        for (size_t i = 0; i < now.size(); ++i)
          ASSERT_LE(more[i], now[i]) << "figure " << i << ", " << frozen << " and " << kind;
      }
    }
    const auto none = share_of_rank(wholes.back(), division);
    EXPECT_EQ(none.total(), none.parameters + none.activations + none.workspace);
  }
}

TEST(MemoryEstimate, IsNeverBelowZeroAndFreezingMoreNeverTakesMore) {
  const LargestBatch batch{kRows * kColumns, kColumns, kRows * kColumns, kRows};
  auto shared = mixture("switch");
  shared.shared_expert_dim = 128;
  for (const auto& options : {dense(), mixture("switch"), shared}) {
    expect_less_with_more_frozen(
        [&](const StateBytes& state) { return estimate_memory(options, batch, state); });
  }
  auto sentences = roberta();
  sentences.heads_of_sentences = {{.name = "sentences", .classes = 3}};
  for (const auto& options : {roberta(), sentences}) {
    expect_less_with_more_frozen(
        [&](const StateBytes& state) { return estimate_memory(options, batch, state); });
  }
}

TEST(MemoryEstimate, OfARankHasItsShareOfWhatIsTrained) {
  const auto options = mixture("switch");
  const LargestBatch batch{kTokens, kColumns, kTokens};
  const auto whole = estimate_memory(options, batch, [](ParameterKind kind, const auto& sizes) {
    return kind == ParameterKind::kExpert ? kFrozen : kept_state(kind, sizes);
  });
  const auto model = whole.model();
  EXPECT_EQ(model.trained.experts, 0);
  EXPECT_EQ(model.trained.others, model.all.others);
  const auto share = [&](int64_t expert_ranks, int64_t stage) {
    return share_of_rank(whole, {.ranks = 4, .expert_ranks = expert_ranks, .zero_stage = stage});
  };
  for (const int64_t stage : {0, 1}) {
    EXPECT_EQ(share(4, stage).parameters, whole.parameters - model.all.experts * 3 / 4);
    EXPECT_EQ(share(4, stage).gradients, model.all.others);
  }
  EXPECT_EQ(share(4, 0).moments, whole.moments);
  EXPECT_EQ(share(4, 1).moments, whole.moments / 4);
  const auto constants = whole.parameters - model.all.sum();
  int64_t largest = 0, trained = 0;
  for (const auto& block : whole.blocks) {
    largest = std::max(largest, block.all.sum());
    trained = std::max(trained, block.trained.sum());
  }
  EXPECT_EQ(share(1, 3).parameters,
            constants + model.all.sum() / 4 + whole.outside.all.sum() + 2 * largest);
  EXPECT_EQ(share(1, 3).gradients,
            model.all.others / 4 + 2 * whole.outside.all.sum() + 5 * trained);
}

}  // namespace
}  // namespace evomoe
