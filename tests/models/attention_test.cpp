#include "evomoe/models/attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

constexpr int64_t kDim = 12, kHeads = 3;
// Keeps everything, but goes the way of dropout.
constexpr double kNothing = 1e-9;

Attention make_attention(double dropout) {
  Attention attention(
      AttentionOptions{.embed_dim = kDim, .heads = kHeads, .dropout = dropout, .layer = 2});
  attention->initialise(7, "self_attn");
  return attention;
}

ForwardContext training(int64_t length) {
  ForwardContext context;
  context.training = true;
  context.noise.sequence_length = static_cast<uint32_t>(length);
  return context;
}

torch::Tensor padding(const std::vector<int64_t>& lengths, int64_t columns) {
  const auto length = torch::tensor(lengths, torch::kInt64).unsqueeze(1);
  return torch::arange(columns, torch::kInt64).unsqueeze(0) >= length;
}

/// Vaswani et al. 2017, section 3.2, one query at a time.
torch::Tensor by_definition(Attention& attention, const torch::Tensor& x_BSD,
                            const std::vector<int64_t>& lengths) {
  const auto part = [&](const std::string& name, const torch::Tensor& x) {
    const auto parameters = attention->named_parameters();
    return torch::linear(x, parameters[name + ".weight"], parameters[name + ".bias"]);
  };
  const auto q = part("q_proj", x_BSD), k = part("k_proj", x_BSD), v = part("v_proj", x_BSD);
  auto y_BSD = torch::zeros_like(x_BSD);
  for (int64_t b = 0; b < x_BSD.size(0); ++b) {
    for (int64_t s = 0; s < x_BSD.size(1); ++s) {
      const auto seen = std::min(s + 1, lengths[static_cast<size_t>(b)]);
      if (seen == 0) continue;  // all keys are padding: it attends to nothing
      for (int64_t h = 0; h < kHeads; ++h) {
        const auto head = [&](const torch::Tensor& t) {
          return t[b].slice(1, h * kDim / kHeads, (h + 1) * kDim / kHeads);
        };
        const auto keys = head(k).slice(0, 0, seen);
        const auto p =
            torch::softmax(torch::mv(keys, head(q)[s]) / std::sqrt(double{kDim} / kHeads), 0);
        head(y_BSD)[s].copy_(torch::mv(head(v).slice(0, 0, seen).t(), p));
      }
    }
  }
  return part("out_proj", y_BSD);
}

TEST(Attention, EqualsItsDefinitionWithAndWithoutPaddingAndDropout) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  const auto x = torch::randn({3, 7, kDim});
  for (const auto& lengths : {std::vector<int64_t>{7, 7, 7}, {7, 3, 5}, {4, 0, 7}}) {
    for (const double dropout : {0.0, kNothing}) {
      auto attention = make_attention(dropout);
      auto context = training(7);
      if (lengths != std::vector<int64_t>{7, 7, 7}) context.padding_BS = padding(lengths, 7);
      EXPECT_TRUE(torch::allclose(attention->forward(x, context),
                                  by_definition(attention, x, lengths), 1e-5, 1e-6))
          << lengths << " dropout " << dropout;
    }
  }
}

TEST(Attention, ASequenceOfPaddingAloneHasFiniteOutputsAndGradients) {
  for (const double dropout : {0.0, 0.3}) {
    auto attention = make_attention(dropout);
    torch::manual_seed(2);
    const auto x = torch::randn({2, 5, kDim}).requires_grad_(true);
    auto context = training(5);
    context.padding_BS = padding({5, 0}, 5);
    const auto y = attention->forward(x, context);
    EXPECT_TRUE(torch::isfinite(y).all().item<bool>()) << dropout;
    // Only the output projection's bias, which is zero at first.
    EXPECT_EQ(y[1].abs().max().item<double>(), 0) << dropout;
    y.square().sum().backward();
    EXPECT_TRUE(torch::isfinite(x.grad()).all().item<bool>()) << dropout;
    for (const auto& item : attention->named_parameters()) {
      EXPECT_TRUE(torch::isfinite(item.value().grad()).all().item<bool>()) << item.key();
    }
  }
}

TEST(Attention, DropoutOfAQueryDependsNeitherOnThePaddedLengthNorOnTheSplit) {
  const torch::NoGradGuard no_grad;
  auto attention = make_attention(0.4);
  torch::manual_seed(3);
  const auto x = torch::randn({2, 9, kDim});
  auto context = training(9);
  context.padding_BS = padding({9, 5}, 9);
  const auto whole = attention->forward(x, context);
  auto alone = training(5);
  alone.noise.first_sequence = 1;
  const auto shorter = attention->forward(x.slice(0, 1).slice(1, 0, 5), alone);
  EXPECT_TRUE(torch::allclose(whole[1].slice(0, 0, 5), shorter[0], 1e-5, 1e-6));
  alone.noise.first_sequence = 0;
  EXPECT_FALSE(torch::allclose(shorter, attention->forward(x.slice(0, 1).slice(1, 0, 5), alone),
                               1e-3, 1e-3));
}

TEST(Attention, HeadsAndQueriesHaveDropoutOfTheirOwn) {
  const torch::NoGradGuard no_grad;
  auto attention = make_attention(0.5);
  const auto parameters = attention->named_parameters();
  // Equal keys and values 1: an output is the sum of the kept probabilities of its head.
  for (const auto& item : parameters) item.value().zero_();
  parameters["v_proj.bias"].fill_(1);
  parameters["out_proj.weight"].copy_(torch::eye(kDim));
  const auto y = attention->forward(torch::randn({2, 40, kDim}), training(40));
  const auto head = [&](int64_t h) { return y[0].select(1, h * kDim / kHeads); };
  EXPECT_FALSE(torch::allclose(head(0), head(1)));
  EXPECT_FALSE(torch::allclose(head(1), head(2)));
  EXPECT_FALSE(torch::allclose(y[0], y[1]));
  EXPECT_NEAR(y.slice(1, 20).mean().item<double>(), 1, 0.05);
}

TEST(Attention, ACacheGivesTheOutputsOfTheWholeSequence) {
  const torch::NoGradGuard no_grad;
  auto attention = make_attention(0);
  torch::manual_seed(4);
  const auto x = torch::randn({2, 8, kDim});
  const auto whole = attention->forward(x, ForwardContext());
  KeyValueCache cache;
  ForwardContext context;
  context.cache = &cache;
  for (const auto& [begin, end] : {std::pair{0, 3}, {3, 4}, {4, 8}}) {
    const auto part = attention->forward(x.slice(1, begin, end), context);
    EXPECT_TRUE(torch::allclose(part, whole.slice(1, begin, end), 1e-5, 1e-6)) << begin;
  }
}

TEST(Attention, HeadsThatDoNotDivideTheWidthAreRefused) {
  EXPECT_THROW(Attention(AttentionOptions{.embed_dim = 10, .heads = 3}), UsageError);
}

}  // namespace
}  // namespace evomoe
