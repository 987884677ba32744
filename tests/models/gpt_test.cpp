#include "evomoe/models/gpt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "evomoe/base/error.h"
#include "evomoe/routing/router_metrics.h"
#include "tests/models/small_gpt.h"

namespace evomoe {
namespace {

using testing::kPad;
using testing::kPositions;
using testing::kVocabulary;
using testing::logits_of;
using testing::make_gpt;
using testing::padded_tokens;
using testing::small_gpt;
using testing::some_tokens;

/// Log-probabilities of each next token, [B,S-1].
torch::Tensor token_losses(Gpt& model, const torch::Tensor& token_BS, ForwardContext context) {
  const torch::NoGradGuard no_grad;
  const auto padding_BS = token_BS.eq(kPad);
  if (padding_BS.any().item<bool>()) context.padding_BS = padding_BS;
  const auto log_p = torch::log_softmax(logits_of(model, token_BS, context), 2);
  return log_p.slice(1, 0, -1).gather(2, token_BS.slice(1, 1).unsqueeze(2)).squeeze(2);
}

GptOptions with_all_dropouts(const std::string& method) {
  auto options = small_gpt(method);
  options.dropout = 0.2;
  options.attention_dropout = 0.3;
  options.activation_dropout = 0.1;
  return options;
}

TEST(Gpt, MicroBatchesOfOtherSizesAndLengthsGiveEachTokenTheSameLoss) {
  const std::vector<int64_t> lengths = {9, 4, 12, 7};
  const auto token_BS = padded_tokens(lengths, 12);
  for (const auto* method : {"", "dts", "switch"}) {
    auto model = make_gpt(with_all_dropouts(method));
    model->to(torch::kFloat64);  // so that rounding hides nothing
    ForwardContext context;
    context.training = true;
    context.schedule.temperature = 0.5;
    context.noise.update = 6;
    const auto whole = token_losses(model, token_BS, context);
    const auto without = token_losses(model, token_BS, ForwardContext());
    for (int64_t b = 0; b < 4; ++b) {
      const auto real = lengths[static_cast<size_t>(b)];
      auto alone = context;
      alone.noise.first_sequence = static_cast<uint32_t>(b);
      const auto split =
          token_losses(model, token_BS.slice(0, b, b + 1).slice(1, 0, real), alone)[0];
      const auto expected = whole[b].slice(0, 0, real - 1);
      EXPECT_LT((split - expected).abs().max().item<double>(), 1e-7) << method << " " << b;
      EXPECT_GT((expected - without[b].slice(0, 0, real - 1)).abs().max().item<double>(), 1e-2);
    }
  }
}

TEST(Gpt, BatchesWithRowsOfPaddingAloneTrainWithAttentionDropout) {
  auto model = make_gpt(with_all_dropouts("dts"));
  const auto token_BS = padded_tokens({8, 0, 3, 0}, 8);
  ForwardContext context;
  context.training = true;
  context.schedule.temperature = 0.5;
  context.padding_BS = token_BS.eq(kPad);
  const auto x = model->forward(token_BS, context).x_BSD;
  EXPECT_TRUE(torch::isfinite(x).all().item<bool>());
  x.square().sum().backward();
  for (const auto& item : model->named_parameters()) {
    if (!item.value().grad().defined()) continue;
    EXPECT_TRUE(torch::isfinite(item.value().grad()).all().item<bool>()) << item.key();
  }
}

const PositionKind kAllPositions[] = {PositionKind::kNone, PositionKind::kLearned,
                                      PositionKind::kSinusoidal, PositionKind::kRotary};

TEST(Gpt, ASequenceInARowOfSeveralIsComputedAsAlone) {
  const torch::NoGradGuard no_grad;
  for (const auto positions : kAllPositions) {
    auto options = small_gpt();
    options.positions = positions;
    auto model = make_gpt(options);
    const auto token_BS = some_tokens(1, 12);
    ForwardContext packed;
    packed.segment_BS = (torch::arange(12).ge(5).to(torch::kInt64) + 1).unsqueeze(0);
    const auto whole = logits_of(model, token_BS, packed);
    for (const auto& [begin, end] : {std::pair{0, 5}, std::pair{5, 12}}) {
      const auto alone = logits_of(model, token_BS.slice(1, begin, end), ForwardContext());
      EXPECT_TRUE(torch::allclose(whole.slice(1, begin, end), alone, 1e-4, 1e-5))
          << static_cast<int>(positions);
    }
  }
}

TEST(Gpt, PaddingBeforeASequenceDoesNotMoveItsRotaryPositions) {
  const torch::NoGradGuard no_grad;
  auto options = small_gpt();
  options.positions = PositionKind::kRotary;
  auto model = make_gpt(options);
  const auto token_BS = some_tokens(1, 7);
  const auto padded_BS = torch::cat({torch::full({1, 3}, kPad, torch::kInt64), token_BS}, 1);
  ForwardContext context;
  context.padding_BS = padded_BS.eq(kPad);
  EXPECT_TRUE(torch::allclose(logits_of(model, padded_BS, context).slice(1, 3),
                              logits_of(model, token_BS, ForwardContext()), 1e-4, 1e-5));
}

TEST(Gpt, RotaryPositionsTellTheOrderOfEarlierTokensAndHaveNoTable) {
  const torch::NoGradGuard no_grad;
  const auto token_BS = some_tokens(1, 8);
  auto swapped = token_BS.clone();
  swapped[0][1] = token_BS[0][2];
  swapped[0][2] = token_BS[0][1];
  const auto last_changes = [&](PositionKind positions) {
    auto options = small_gpt();
    options.layers = 1;  // more layers tell the order by the causal mask
    options.positions = positions;
    auto model = make_gpt(options);
    EXPECT_FALSE(model->named_parameters().contains("decoder.embed_positions.weight"));
    const auto last = [&](const torch::Tensor& tokens) {
      return logits_of(model, tokens, ForwardContext()).select(1, 7);
    };
    return !torch::allclose(last(token_BS), last(swapped), 1e-4, 1e-5);
  };
  EXPECT_TRUE(last_changes(PositionKind::kRotary));
  EXPECT_FALSE(last_changes(PositionKind::kNone));
}

TEST(Gpt, RmsNormsAreThoseOfEveryBlockAndTrain) {
  auto options = small_gpt("switch");
  options.norm = {.kind = NormKind::kRmsNorm, .eps = 1e-6};
  options.embedding_norm = true;
  options.positions = PositionKind::kRotary;
  auto model = make_gpt(options);
  logits_of(model, some_tokens(2, 9), ForwardContext()).square().sum().backward();
  int norms = 0;
  for (const auto& item : model->named_parameters()) {
    if (item.key().find("norm") == std::string::npos) continue;
    EXPECT_TRUE(item.key().ends_with(".weight")) << item.key();
    EXPECT_GT(item.value().grad().abs().max().item<double>(), 0) << item.key();
    ++norms;
  }
  EXPECT_EQ(norms, 2 * 4 + 2);
}

TEST(Gpt, TheKeyValueCacheGivesTheWholeForwardPassAtEveryStep) {
  const torch::NoGradGuard no_grad;
  for (const auto* method : {"", "dts", "gshard"}) {
    for (const auto positions : kAllPositions) {
      auto options = small_gpt(method);
      options.positions = positions;
      auto model = make_gpt(options);
      const auto token_BS = some_tokens(2, 15);
      KeyValueCache cache;
      ForwardContext context;
      context.cache = &cache;
      int64_t begin = 0;
      for (const int64_t end : {4, 5, 6, 7, 11, 12, 13, 14, 15}) {
        const auto part = logits_of(model, token_BS.slice(1, begin, end), context);
        const auto whole = logits_of(model, token_BS.slice(1, 0, end), ForwardContext());
        EXPECT_TRUE(torch::allclose(part, whole.slice(1, begin), 1e-4, 1e-5)) << method << end;
        EXPECT_EQ(cache.length, end);
        begin = end;
      }
    }
  }
}

TEST(Gpt, LaterTokensDoNotChangeEarlierOutputs) {
  const torch::NoGradGuard no_grad;
  auto model = make_gpt(small_gpt("topk"));
  const auto token_BS = some_tokens(2, 10);
  auto changed = token_BS.clone();
  changed.slice(1, 6).fill_(3);
  const auto before = logits_of(model, token_BS, ForwardContext());
  const auto after = logits_of(model, changed, ForwardContext());
  EXPECT_TRUE(torch::allclose(before.slice(1, 0, 6), after.slice(1, 0, 6), 1e-5, 1e-6));
  EXPECT_FALSE(torch::allclose(before.slice(1, 6), after.slice(1, 6), 1e-3, 1e-3));
}

TEST(Gpt, CheckpointedActivationsGiveTheSameLossesGradientsAndStatistics) {
  for (const auto* method : {"", "dts", "gshard"}) {
    std::vector<torch::Tensor> gradients[2];
    std::vector<torch::Tensor> loads[2];
    for (const int checkpointed : {0, 1}) {
      auto options = with_all_dropouts(method);
      options.checkpoint_activations = checkpointed == 1;
      options.moe.recompute_experts = checkpointed == 1;
      auto model = make_gpt(options);
      ForwardContext context;
      context.training = true;
      context.schedule.temperature = 0.5;
      const auto token_BS = padded_tokens({7, 5}, 7);
      context.padding_BS = token_BS.eq(kPad);
      const auto output = model->forward(token_BS, context);
      auto loss = output.x_BSD.square().sum();
      for (const auto& layer : output.losses) {
        for (const auto& part : layer) loss = loss + 0.5 * part.value.sum();
      }
      loss.backward();
      gradients[checkpointed].push_back(loss.detach());
      for (const auto& item : model->named_parameters()) {
        const auto& gradient = item.value().grad();
        gradients[checkpointed].push_back(gradient.defined() ? gradient : torch::zeros({1}));
      }
      for (const auto& [layer, stats] : output.stats) loads[checkpointed].push_back(stats.load_E);
    }
    ASSERT_EQ(gradients[0].size(), gradients[1].size());
    for (size_t i = 0; i < gradients[0].size(); ++i) {
      EXPECT_TRUE(torch::allclose(gradients[0][i], gradients[1][i], 1e-5, 1e-6))
          << method << " tensor " << i;
    }
    ASSERT_EQ(loads[0].size(), loads[1].size());
    for (size_t i = 0; i < loads[0].size(); ++i)
      EXPECT_TRUE(torch::equal(loads[0][i], loads[1][i]));
  }
}

TEST(Gpt, RouterStatisticsLeavePaddingOutAndItsRoutingAsItWas) {
  const torch::NoGradGuard no_grad;
  const auto token_BS = padded_tokens({8, 3}, 8);
  for (const auto* method : {"switch", "topk", "dense", "gshard", "dts"}) {
    SCOPED_TRACE(method);
    auto model = make_gpt(small_gpt(method));
    ForwardContext context;
    context.training = true;
    context.schedule.temperature = 0.5;
    const auto unknown = model->forward(token_BS, context);
    context.padding_BS = token_BS.eq(kPad);
    const auto routed = model->forward(token_BS, context);
    context.mask_padding_in_moe = true;
    const auto masked = model->forward(token_BS, context);
    EXPECT_EQ(unknown.stats[0].second.tokens, 16);
    const auto& stats = routed.stats[0].second;
    EXPECT_EQ(stats.tokens, 11);
    EXPECT_EQ(stats.active_E1.sum().item<int64_t>(), 11);
    EXPECT_TRUE(torch::equal(stats.load_E, masked.stats[0].second.load_E));
    // Padding goes to experts all the same, unless --use-moe-pad-mask.
    EXPECT_EQ(stats.assignments == masked.stats[0].second.assignments,
              std::string(method) == "dts");
    EXPECT_GT(stats.assignments, stats.load_E.sum().item<int64_t>());
    EXPECT_EQ(router_metrics(stats).dropped_share, 0);
  }
}

TEST(Gpt, TheSharedStageComputesPaddingButDoesNotCountIt) {
  const torch::NoGradGuard no_grad;
  auto options = small_gpt("dts");
  options.moe.shared_expert = true;
  auto model = make_gpt(options);
  const auto token_BS = padded_tokens({8, 3}, 8);
  ForwardContext context;
  context.padding_BS = token_BS.eq(kPad);
  const auto stats = model->forward(token_BS, context).stats[0].second;
  EXPECT_EQ(stats.tokens, 11);
  EXPECT_EQ(stats.load_E.item<int64_t>(), 11);
  EXPECT_EQ(stats.assignments, 16);
  EXPECT_EQ(stats.entropy_sum.scalar_type(), torch::kFloat64);
}

TEST(Gpt, ASharedExpertAndTheOneBeforeTheSpawnAreADenseBlockOfBothWidths) {
  auto dense = make_gpt(small_gpt());
  auto options = small_gpt("topk");
  options.moe.shared_expert = true;
  options.shared_expert_dim = 12;
  options.moe.hidden_dim = 20;  // of 32
  auto mixture = make_gpt(options);
  const torch::NoGradGuard no_grad;
  auto whole = dense->named_parameters();
  for (auto& item : mixture->named_parameters()) {
    const auto& name = item.key();
    auto& tensor = item.value();
    if (name.find("moe_layer.gate") != std::string::npos) continue;
    const auto at = name.find("moe_layer.experts.");
    if (at == std::string::npos) {
      auto source = whole[name];
      if (source.sizes() != tensor.sizes())
        source = name.ends_with("fc2.weight") ? source.slice(1, 0, 12) : source.slice(0, 0, 12);
      tensor.copy_(source);
      continue;
    }
    const auto layer = name.substr(0, at), weight = name.substr(at + 18);
    if (weight == "w1") tensor.copy_(whole[layer + "fc1.weight"].slice(0, 12).unsqueeze(0));
    if (weight == "b1") tensor.copy_(whole[layer + "fc1.bias"].slice(0, 12).unsqueeze(0));
    if (weight == "w2") tensor.copy_(whole[layer + "fc2.weight"].slice(1, 12).unsqueeze(0));
    if (weight == "b2") tensor.zero_();
  }
  const auto token_BS = some_tokens(3, 9);
  const auto expected = logits_of(dense, token_BS, ForwardContext());
  EXPECT_TRUE(
      torch::allclose(logits_of(mixture, token_BS, ForwardContext()), expected, 1e-4, 1e-5));
  EXPECT_GT((expected - logits_of(mixture, token_BS.flip(1), ForwardContext()))
                .abs()
                .max()
                .item<double>(),
            1e-2);
}

TEST(Gpt, ExecutedFlopsFollowTheStageTheAssignmentsAndRecomputation) {
  const double D = 16, F = 32, V = kVocabulary, S = 8, E = 4, A = 3;
  const double attention = 4 * D * D + S * D;
  const double dense = 2 * (attention + 2 * D * F), moe = 2 * (attention + A * 2 * D * F);
  const double gates = 2 * D * E, head = V * D;
  const auto flops = [&](GptOptions options) {
    // Of the second and the fourth layer, for one sequence of 8 tokens.
    ModelOutput output;
    for (const int64_t layer : {1, 3}) {
      RouterStats stats;
      stats.assignments = static_cast<int64_t>(A * S);
      output.stats.emplace_back(layer, stats);
    }
    return Gpt(options)->training_flops({some_tokens(1, 8)}, output) / S;
  };
  auto options = small_gpt("dts");
  EXPECT_DOUBLE_EQ(flops(options), 6 * (dense + moe + gates + head));
  options.checkpoint_activations = true;
  EXPECT_DOUBLE_EQ(flops(options), 8 * (dense + moe + gates) + 6 * head);
  options.checkpoint_activations = false;
  options.moe.recompute_experts = true;
  EXPECT_DOUBLE_EQ(flops(options), 6 * (dense + moe + gates + head) + 2 * 2 * A * D * F);
  options.shared_expert_dim = 5;  // every token has it, and it is not made again
  EXPECT_DOUBLE_EQ(flops(options),
                   6 * (dense + moe + 2 * 2 * D * 5 + gates + head) + 2 * 2 * A * D * F);
  options.moe.hidden_dim = 24;
  EXPECT_DOUBLE_EQ(flops(options),
                   6 * (dense + 2 * (attention + 2 * D * 5 + A * 2 * D * 24) + gates + head) +
                       2 * 2 * A * D * 24);
  options.shared_expert_dim = options.moe.hidden_dim = 0;
  options.moe.gated = true;  // three products, of which two make the hidden values
  EXPECT_DOUBLE_EQ(flops(options),
                   6 * (dense + moe + 2 * A * D * F + gates + head) + 2 * 2 * 2 * A * D * F);
  options.moe.gated = false;
  options.moe.recompute_experts = false;
  options.moe.shared_expert = true;
  EXPECT_DOUBLE_EQ(flops(options), 6 * (dense + moe + head));
  options.dense_ffn_dim_of_moe_layers = 96;
  EXPECT_DOUBLE_EQ(flops(options), 6 * (dense + 2 * (attention + 2 * D * 96) + head));
}

TEST(Gpt, ASequenceBeyondThePositionsIsRefused) {
  auto model = make_gpt(small_gpt());
  EXPECT_NO_THROW(model->forward(some_tokens(1, kPositions), ForwardContext()));
  EXPECT_THAT([&] { model->forward(some_tokens(1, kPositions + 1), ForwardContext()); },
              ::testing::ThrowsMessage<Error>(
                  ::testing::HasSubstr("25 tokens is longer than the 24 positions")));
}

TEST(Gpt, ImpossibleOptionsAreNamed) {
  const std::vector<std::pair<std::string, std::function<void(GptOptions&)>>> cases = {
      {"--decoder-layers must be at least 1, not 0", [](auto& o) { o.layers = 0; }},
      {"--decoder-embed-dim must be at least 1, not 0", [](auto& o) { o.embed_dim = 0; }},
      {"--decoder-ffn-embed-dim must be at least 1, not -1", [](auto& o) { o.ffn_dim = -1; }},
      {"--moe-freq 5", [](auto& o) { o.moe_freq = 5; }},
      {"--moe-freq -1", [](auto& o) { o.moe_freq = -1; }},
      {"--decoder-attention-heads 3", [](auto& o) { o.heads = 3; }},
      {"--decoder-attention-heads 0", [](auto& o) { o.heads = 0; }},
      {"and 1 is odd", [](auto& o) { o.positions = PositionKind::kRotary, o.heads = 16; }},
      {"--decoder-attention-heads 5000", [](auto& o) { o.heads = o.embed_dim = 5000; }},
      {"--dropout 1", [](auto& o) { o.dropout = 1; }},
      {"--attention-dropout -0.1", [](auto& o) { o.attention_dropout = -0.1; }},
      {"--activation-dropout 1", [](auto& o) { o.activation_dropout = 1; }}};
  for (const auto& [text, change] : cases) {
    auto options = small_gpt();
    EXPECT_NO_THROW(options.validate());
    change(options);
    EXPECT_THAT([&] { options.validate(); },
                ::testing::ThrowsMessage<UsageError>(::testing::HasSubstr(text)));
    EXPECT_THROW(Gpt{options}, UsageError);
  }
  auto options = small_gpt();
  options.vocab_size = 0;
  EXPECT_THAT([&] { Gpt{options}; },
              ::testing::ThrowsMessage<Error>(::testing::HasSubstr("the dictionary is empty")));
  options = small_gpt();
  options.activation = "tanh";
  EXPECT_THAT([&] { Gpt{options}; },
              ::testing::ThrowsMessage<Error>(::testing::HasSubstr("--activation-fn 'tanh'")));
}

/// Two layers of experts behind two dense ones, all as today's decoders have it.
GptOptions modern_gpt() {
  auto options = small_gpt("topk");
  options.moe_freq = 1;
  options.first_dense_layers = 2;
  options.activation = "silu";
  options.positions = PositionKind::kRotary;
  options.rotary = {.base = 100, .scaling = "llama3", .factor = 4, .original_positions = 8};
  options.norm = {.kind = NormKind::kRmsNorm, .eps = 1e-6};
  options.heads = 4;
  options.kv_heads = 2;
  options.head_dim = 6;
  options.attention_bias = "none";
  options.query_key_norm = "head";
  options.gated = options.moe.gated = true;
  options.ffn_bias = options.moe.biases = false;
  options.window = 5;
  options.scale_embedding = false;
  return options;
}

TEST(ModernGpt, HasNoBiasesAndTheNamesOfItsParts) {
  const auto parameters = Gpt(modern_gpt())->named_parameters();
  for (const auto& item : parameters) {
    EXPECT_EQ(item.key().find("bias"), std::string::npos) << item.key();
    EXPECT_EQ(item.key().find("b1"), std::string::npos) << item.key();
  }
  const auto sizes = [&](const std::string& name) {
    return parameters["decoder.layers." + name].sizes().vec();
  };
  using Sizes = std::vector<int64_t>;
  EXPECT_EQ(sizes("0.fc1.weight"), (Sizes{32, 16}));
  EXPECT_EQ(sizes("1.fc3.weight"), (Sizes{32, 16}));
  EXPECT_EQ(sizes("2.moe_layer.experts.w3"), (Sizes{4, 32, 16}));
  EXPECT_EQ(sizes("3.self_attn.q_proj.weight"), (Sizes{24, 16}));
  EXPECT_EQ(sizes("3.self_attn.k_proj.weight"), (Sizes{12, 16}));
  EXPECT_EQ(sizes("3.self_attn.out_proj.weight"), (Sizes{16, 24}));
  EXPECT_EQ(sizes("3.self_attn.k_norm.weight"), (Sizes{6}));
}

TEST(ModernGpt, AGatedBlockIsTheProductOfItsTwoProjections) {
  const torch::NoGradGuard no_grad;
  struct Owner : torch::nn::Module {};
  torch::manual_seed(3);
  const auto x = torch::randn({2, 5, 16});
  for (const bool biases : {false, true}) {
    Owner own;
    FeedForward block(
        {.embed_dim = 16, .hidden_dim = 24, .activation = "silu", .gated = true, .biases = biases},
        own);
    block.initialise(4, "block");
    const auto p = own.named_parameters();
    const auto with = [&](const torch::Tensor& y, const char* name) {
      return biases ? y + p[name] : y;
    };
    const auto hidden = torch::silu(with(torch::matmul(x, p["fc1.weight"].t()), "fc1.bias")) *
                        torch::matmul(x, p["fc3.weight"].t());
    const auto expected = with(torch::matmul(hidden, p["fc2.weight"].t()), "fc2.bias");
    EXPECT_TRUE(torch::allclose(block.forward(x, ForwardContext()), expected, 1e-5, 1e-6));
    EXPECT_EQ(p.size(), biases ? 5U : 3U);
  }
}

TEST(ModernGpt, TheCacheGivesTheWholeForwardPass) {
  const torch::NoGradGuard no_grad;
  auto model = make_gpt(modern_gpt());
  const auto token_BS = some_tokens(2, 15);
  const auto whole = logits_of(model, token_BS, ForwardContext());
  KeyValueCache cache;
  ForwardContext context;
  context.cache = &cache;
  int64_t begin = 0;
  for (const int64_t end : {7, 8, 9, 12, 13, 14, 15}) {
    const auto part = logits_of(model, token_BS.slice(1, begin, end), context);
    EXPECT_TRUE(torch::allclose(part, whole.slice(1, begin, end), 1e-4, 1e-5)) << end;
    begin = end;
  }
  EXPECT_EQ(cache.key.at(3).kept_BKSC().sizes(), (std::vector<int64_t>{2, 2, 4, 6}));
}

TEST(ModernGpt, PackedAndPaddedRowsAreComputedAsAlone) {
  const torch::NoGradGuard no_grad;
  auto model = make_gpt(modern_gpt());
  const auto token_BS = some_tokens(1, 20);
  ForwardContext packed;
  packed.segment_BS = (torch::arange(20).ge(8).to(torch::kInt64) + 1).unsqueeze(0);
  const auto whole = logits_of(model, token_BS, packed);
  for (const auto& [begin, end] : {std::pair{0, 8}, std::pair{8, 20}}) {
    const auto alone = logits_of(model, token_BS.slice(1, begin, end), ForwardContext());
    EXPECT_TRUE(torch::allclose(whole.slice(1, begin, end), alone, 1e-4, 1e-5)) << begin;
  }
  auto padded_BS = token_BS.clone();
  padded_BS.slice(1, 13).fill_(kPad);
  ForwardContext context;
  context.padding_BS = padded_BS.eq(kPad);
  EXPECT_TRUE(torch::allclose(logits_of(model, padded_BS, context).slice(1, 0, 13),
                              logits_of(model, token_BS.slice(1, 0, 13), ForwardContext()), 1e-4,
                              1e-5));
}

TEST(ModernGpt, CheckpointedActivationsGiveTheSameGradients) {
  std::vector<torch::Tensor> gradients[2];
  for (const bool checkpointed : {false, true}) {
    auto options = modern_gpt();
    options.checkpoint_activations = options.moe.recompute_experts = checkpointed;
    options.dropout = options.attention_dropout = 0.1;
    auto model = make_gpt(options);
    ForwardContext context;
    context.training = true;
    model->forward(some_tokens(2, 9), context).x_BSD.square().sum().backward();
    for (const auto& item : model->named_parameters()) {
      if (item.value().grad().defined()) gradients[checkpointed].push_back(item.value().grad());
    }
  }
  ASSERT_EQ(gradients[0].size(), gradients[1].size());
  for (size_t i = 0; i < gradients[0].size(); ++i)
    EXPECT_TRUE(torch::allclose(gradients[0][i], gradients[1][i], 1e-4, 1e-5)) << i;
}

TEST(ModernGpt, ImpossibleOptionsAreNamed) {
  const std::vector<std::pair<std::string, std::function<void(GptOptions&)>>> cases = {
      {"--moe-first-dense-layers 4", [](auto& o) { o.first_dense_layers = 4; }},
      {"--moe-first-dense-layers -1", [](auto& o) { o.first_dense_layers = -1; }},
      {"--decoder-head-dim 5", [](auto& o) { o.head_dim = 5; }},
      {"--decoder-kv-heads 3", [](auto& o) { o.kv_heads = 3; }},
      {"--norm-eps 0", [](auto& o) { o.norm.eps = 0; }},
      {"--rotary-base", [](auto& o) { o.rotary.base = -1; }}};
  for (const auto& [text, change] : cases) {
    auto options = modern_gpt();
    EXPECT_NO_THROW(options.validate());
    change(options);
    EXPECT_THAT([&] { options.validate(); },
                ::testing::ThrowsMessage<UsageError>(::testing::HasSubstr(text)));
  }
}

}  // namespace
}  // namespace evomoe
