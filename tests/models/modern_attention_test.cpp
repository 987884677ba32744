// Attention as today's decoders have it: fewer heads of keys, norms of queries and keys, windows,
// heads of their own width, projections without biases.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "evomoe/base/error.h"
#include "evomoe/models/attention.h"

namespace evomoe {
namespace {

constexpr int64_t kWidth = 12, kQueryHeads = 4, kLength = 9;

AttentionOptions modern_options() {
  return {.embed_dim = kWidth,
          .heads = kQueryHeads,
          .kv_heads = 2,
          .head_dim = 6,
          .bias = "none",
          .norm = {.kind = NormKind::kRmsNorm, .eps = 1e-5},
          .layer = 1};
}

Attention make_modern(const AttentionOptions& options) {
  Attention attention(options);
  attention->initialise(5, "self_attn");
  attention->to(torch::kFloat64);
  const torch::NoGradGuard no_grad;
  for (auto& item : attention->named_parameters()) {
    if (item.key().find("norm") != std::string::npos)
      item.value().copy_(torch::arange(1, item.value().numel() + 1) * 0.3);
    if (item.key().ends_with("bias")) item.value().fill_(0.1);
  }
  return attention;
}

ForwardContext rotating(int64_t head_dim, int64_t first, int64_t length) {
  ForwardContext context;
  context.rotation = rotation_of(torch::arange(first, first + length).unsqueeze(0), head_dim,
                                 {.base = 100}, torch::ones({1}, torch::kFloat64));
  return context;
}

/// One head of one query at a time. `first_key[s]`, the first key that query s of a row sees.
torch::Tensor by_loops(Attention& attention, const AttentionOptions& options,
                       const torch::Tensor& x_BSD,
                       const std::function<int64_t(int64_t)>& first_key) {
  const auto parameters = attention->named_parameters();
  const auto linear = [&](const std::string& name, const torch::Tensor& x) {
    const auto* bias = parameters.find(name + ".bias");
    auto y = torch::matmul(x, parameters[name + ".weight"].t());
    return bias == nullptr ? y : y + *bias;
  };
  const auto C = options.head_width(), group = options.heads / options.key_heads();
  const auto normed = [&](const std::string& name, const torch::Tensor& x_N) {
    return x_N / torch::sqrt(x_N.square().mean() + options.norm.eps) * parameters[name + ".weight"];
  };
  /// Head h of the token's queries or keys, normed and turned.
  const auto head = [&](const std::string& name, int64_t b, int64_t s, int64_t h) {
    auto whole = linear(name + "_proj", x_BSD[b][s]);
    if (options.query_key_norm == "width") whole = normed(name + "_norm", whole);
    auto x_C = whole.slice(0, h * C, (h + 1) * C);
    if (options.query_key_norm == "head") x_C = normed(name + "_norm", x_C);
    auto turned = x_C.clone();
    for (int64_t j = 0; j < C / 2; ++j) {
      const double angle = static_cast<double>(s) *
                           std::pow(100.0, -2.0 * static_cast<double>(j) / static_cast<double>(C));
      turned[j] = x_C[j] * std::cos(angle) - x_C[j + C / 2] * std::sin(angle);
      turned[j + C / 2] = x_C[j] * std::sin(angle) + x_C[j + C / 2] * std::cos(angle);
    }
    return turned;
  };
  std::vector<torch::Tensor> rows;
  for (int64_t b = 0; b < x_BSD.size(0); ++b) {
    for (int64_t s = 0; s < x_BSD.size(1); ++s) {
      std::vector<torch::Tensor> heads;
      for (int64_t h = 0; h < options.heads; ++h) {
        std::vector<torch::Tensor> scores, values;
        for (int64_t key = first_key(s); key <= s; ++key) {
          scores.push_back(head("q", b, s, h).dot(head("k", b, key, h / group)) /
                           std::sqrt(static_cast<double>(C)));
          values.push_back(
              linear("v_proj", x_BSD[b][key]).slice(0, h / group * C, (h / group + 1) * C));
        }
        heads.push_back(
            torch::matmul(torch::softmax(torch::stack(scores), 0), torch::stack(values)));
      }
      rows.push_back(linear("out_proj", torch::cat(heads)));
    }
  }
  return torch::stack(rows).view({x_BSD.size(0), x_BSD.size(1), -1});
}

std::vector<AttentionOptions> modern_cases() {
  std::vector<AttentionOptions> cases(8, modern_options());
  cases[1].kv_heads = 1;
  cases[2].kv_heads = 0;
  cases[3].bias = "qkv";
  cases[4].query_key_norm = "width";
  cases[5].query_key_norm = "head";
  cases[6].window = 3;
  cases[7].window = 1;
  cases[7].query_key_norm = "head";
  return cases;
}

TEST(ModernAttention, EqualsItsDefinitionInAllItsForms) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  const auto x = torch::randn({2, kLength, kWidth}, torch::kFloat64);
  for (auto options : modern_cases()) {
    // By hand goes the way of dropout.
    for (const double dropout : {0.0, 1e-12}) {
      options.dropout = dropout;
      auto attention = make_modern(options);
      auto context = rotating(options.head_width(), 0, kLength);
      context.training = dropout > 0;
      context.noise.sequence_length = kLength;
      const auto expected = by_loops(attention, options, x, [&](int64_t s) {
        return options.window > 0 ? std::max<int64_t>(0, s + 1 - options.window) : 0;
      });
      EXPECT_TRUE(torch::allclose(attention->forward(x, context), expected, 1e-9, 1e-9))
          << options.kv_heads << options.bias << options.query_key_norm << options.window;
      if (options.window == 0) continue;
      // The stack's one mask for all layers says the same.
      context.segment_mask_B1SS = segment_mask(torch::ones({1, kLength}, torch::kInt64),
                                               /*causal=*/true, torch::kFloat64, options.window);
      EXPECT_TRUE(torch::allclose(attention->forward(x, context), expected, 1e-9, 1e-9));
    }
  }
}

TEST(ModernAttention, ACacheHoldsTheHeadsOfKeysThatLaterTokensSeeAndGivesTheSame) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(2);
  const auto x = torch::randn({2, kLength, kWidth}, torch::kFloat64);
  for (const auto& options : modern_cases()) {
    auto attention = make_modern(options);
    const auto whole = attention->forward(x, rotating(options.head_width(), 0, kLength));
    KeyValueCache cache;
    for (const auto& [begin, end] : {std::pair{0, 2}, {2, 3}, {3, 6}, {6, 7}, {7, 8}, {8, 9}}) {
      auto context = rotating(options.head_width(), begin, end - begin);
      context.cache = &cache;
      const auto part = attention->forward(x.slice(1, begin, end), context);
      EXPECT_TRUE(torch::allclose(part, whole.slice(1, begin, end), 1e-9, 1e-9))
          << options.kv_heads << options.query_key_norm << options.window << " at " << begin;
      const auto kept =
          options.window > 0 ? std::min<int64_t>(end, options.window - 1) : int64_t{end};
      for (const auto& tensor : {cache.key.at(1).kept_BKSC(), cache.value.at(1).kept_BKSC()}) {
        EXPECT_EQ(tensor.sizes(),
                  (std::vector<int64_t>{2, options.key_heads(), kept, options.head_width()}));
      }
    }
  }
}

TEST(ModernAttention, AWindowStaysWithinTheSequencesOfARow) {
  const auto segment = torch::tensor({{1, 1, 1, 1, 2, 2, 2, 0}}, torch::kInt64);
  const auto mask = segment_mask(segment, /*causal=*/true, torch::kFloat, /*window=*/2)[0][0];
  for (int64_t query = 0; query < 8; ++query) {
    for (int64_t key = 0; key < 8; ++key) {
      const bool same = segment[0][query].item<int64_t>() == segment[0][key].item<int64_t>();
      const bool seen = same && key <= query && key > query - 2;
      EXPECT_EQ(mask[query][key].item<float>() == 0, seen) << query << " " << key;
    }
  }
}

TEST(ModernAttention, ItsWorkIsThatOfItsProjectionsAndOfTheKeysThatItMeets) {
  auto options = modern_options();  // 4 heads of 6, 2 of keys
  const double D = 12, Q = 24, K = 12;
  EXPECT_DOUBLE_EQ(attention_work(options, 8), 2 * D * (Q + K) + 8 * Q);
  options.window = 8;
  EXPECT_DOUBLE_EQ(attention_work(options, 8), 2 * D * (Q + K) + 8 * Q);
  options.window = 4;  // the first four meet 2 on average, the other four 4
  EXPECT_DOUBLE_EQ(attention_work(options, 8), 2 * D * (Q + K) + 2 * 3 * Q);
  options.window = 0;
  options.causal = false;
  EXPECT_DOUBLE_EQ(attention_work(options, 8), 2 * D * (Q + K) + 2 * 8 * Q);
}

TEST(ModernAttention, WhatCannotBeIsNamed) {
  const auto refused = [](const char* words, const std::function<void(AttentionOptions&)>& change) {
    auto options = modern_options();
    change(options);
    EXPECT_THAT([&] { Attention{options}; },
                ::testing::ThrowsMessage<UsageError>(::testing::HasSubstr(words)));
  };
  refused("--decoder-kv-heads 3 with --decoder-attention-heads 4", [](auto& o) { o.kv_heads = 3; });
  refused("--decoder-kv-heads 8", [](auto& o) { o.kv_heads = 8; });
  refused("--decoder-head-dim must be", [](auto& o) { o.head_dim = -1; });
  refused("--attention-bias some", [](auto& o) { o.bias = "some"; });
  refused("--query-key-norm both", [](auto& o) { o.query_key_norm = "both"; });
  refused("--sliding-window must be", [](auto& o) { o.window = -1; });
}

}  // namespace
}  // namespace evomoe
