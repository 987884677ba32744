#include "evomoe/moe/expert_exchange.h"

#include <gtest/gtest.h>

#include "evomoe/moe/moe_layer.h"
#include "evomoe/ops/noise.h"
#include "evomoe/routing/topk_router.h"
#include "tests/testing/ranks.h"

namespace evomoe {
namespace {

using testing::on_ranks;
using Ranks = std::shared_ptr<Communicator>;

constexpr int64_t kWidth = 8, kLength = 4, kSequences = 6;

/// What a layer did on some sequences.
struct Done {
  torch::Tensor y_BSD, grad_x_BSD, grad_gate_ED;
  ExpertWeights grads;  ///< of the experts here
  ExpertRange owned;
};

struct LayerCase {
  std::string method = "switch";
  int64_t experts = 4;
  RouterSchedule schedule = {};
  bool gated = false;
  bool recompute = false;
  int64_t exchange_parts = 1;
};

void PrintTo(const LayerCase& test, std::ostream* out) {
  *out << test.method << ", " << test.experts << " experts in " << test.exchange_parts << " parts";
}

MoELayer layer_of(const LayerCase& test, bool shared = false) {
  MoELayerOptions options;
  options.router.method = test.method;
  options.router.model_dim = kWidth;
  options.router.num_experts = test.experts;
  options.router.get<CapacityOptions>().train_factor = 0;
  options.router.get<TopkOptions>().k = 2;
  options.hidden_dim = 12;
  options.gated = test.gated;
  options.activation_dropout = 0.3;
  options.dropout = 0.2;
  options.recompute_experts = test.recompute;
  options.layer = 2;
  options.shared_expert = shared;
  options.initial_seed = 5;
  return MoELayer(options);
}

/// Sequences [begin, end) of the input, whose outputs are weighted each in its own way.
Done run(MoELayer layer, const LayerCase& test, int64_t begin, int64_t end, bool padding = false) {
  // LibTorch's generator is that of all ranks, which are threads.
  const auto numbers = [](uint64_t seed) {
    return normal_noise(kSequences * kLength, kWidth, {.seed = seed}, torch::kCPU)
        .view({kSequences, kLength, kWidth});
  };
  const auto x_BSD = numbers(3), weight_BSD = numbers(4);
  auto x = x_BSD.slice(0, begin, end).clone().requires_grad_();
  RoutingContext context;
  context.schedule = test.schedule;
  context.noise.seed = 11;
  context.noise.update = 4;
  context.noise.first_sequence = static_cast<uint32_t>(begin);
  context.noise.sequence_length = kLength;
  if (padding) context.valid_T = torch::zeros({(end - begin) * kLength}, torch::kBool);
  const auto output = layer->forward(x, context);
  (output.y_BSD * weight_BSD.slice(0, begin, end)).sum().backward();
  return {.y_BSD = output.y_BSD.detach(),
          .grad_x_BSD = x.grad(),
          .grad_gate_ED = layer->router()->gate_weight().grad().clone(),
          .grads = of_each_weight(layer->experts()->weights,
                                  [](const torch::Tensor& weight) { return weight.grad(); }),
          .owned = layer->owned()};
}

class ExpertExchangeOf : public ::testing::TestWithParam<std::tuple<int, LayerCase>> {};

TEST_P(ExpertExchangeOf, RanksThatShareExpertsDoWhatOneDoes) {
  EVOMOE_NEEDS_RANKS();
  const auto& [size, test] = GetParam();
  const auto expected = run(layer_of(test), test, 0, kSequences);
  // The last rank has all that the others leave.
  const auto begin_of = [size = size](int rank) { return rank == size ? kSequences : rank; };
  const auto found = on_ranks(size, [&, test = test](const Ranks& ranks) {
    auto layer = layer_of(test);
    layer->divide_experts(ranks, test.exchange_parts);
    return run(layer, test, begin_of(ranks->rank()), begin_of(ranks->rank() + 1));
  });

  auto gate = torch::zeros_like(expected.grad_gate_ED);
  int64_t next = 0;
  for (int rank = 0; rank < size; ++rank) {
    const auto& own = found[static_cast<size_t>(rank)];
    const auto begin = begin_of(rank), end = begin_of(rank + 1);
    EXPECT_TRUE(torch::allclose(own.y_BSD, expected.y_BSD.slice(0, begin, end), 1e-5, 1e-6));
    EXPECT_TRUE(
        torch::allclose(own.grad_x_BSD, expected.grad_x_BSD.slice(0, begin, end), 1e-4, 1e-5));
    gate += own.grad_gate_ED;
    EXPECT_EQ(own.owned.begin, next);
    next = own.owned.end;
    for_each_weight(
        [&](const torch::Tensor& of_own, const torch::Tensor& of_all, const char* name) {
          ASSERT_EQ(of_own.defined(), of_all.defined());
          if (of_own.defined())
            EXPECT_TRUE(torch::allclose(of_own, of_all.slice(0, own.owned.begin, own.owned.end),
                                        1e-4, 1e-5))
                << name;
        },
        own.grads, expected.grads, kExpertWeightNames);
  }
  EXPECT_EQ(next, test.experts);
  EXPECT_TRUE(torch::allclose(gate, expected.grad_gate_ED, 1e-4, 1e-5));
}

INSTANTIATE_TEST_SUITE_P(
    , ExpertExchangeOf,
    ::testing::Combine(::testing::Values(1, 2, 3),
                       ::testing::Values(LayerCase{"switch", 4},
                                         LayerCase{"topk", 5, {}, /*gated=*/true},
                                         LayerCase{"gshard", 5},
                                         LayerCase{"dense", 3, {}, false, /*recompute=*/true},
                                         LayerCase{"dts", 4, {.temperature = 1.0}},
                                         LayerCase{"dts", 4, {.temperature = 0.5, .hard = true}},
                                         LayerCase{.method = "topk", .exchange_parts = 2},
                                         LayerCase{.method = "dts",
                                                   .schedule = {.temperature = 1.0},
                                                   .recompute = true,
                                                   .exchange_parts = 3},
                                         // More parts than the first rank has tokens.
                                         LayerCase{.method = "switch", .exchange_parts = 7})));

TEST(ExpertExchange, ARankWithoutTokensTakesPart) {
  EVOMOE_NEEDS_RANKS();
  const LayerCase test;
  const auto expected = run(layer_of(test), test, 0, 2);
  const auto found = on_ranks(2, [&](const Ranks& ranks) {
    auto layer = layer_of(test);
    layer->divide_experts(ranks);
    const bool idle = ranks->rank() == 1;
    return run(layer, test, idle ? 2 : 0, idle ? 3 : 2, /*padding=*/idle);
  });
  EXPECT_TRUE(torch::allclose(found[0].y_BSD, expected.y_BSD, 1e-5, 1e-6));
  EXPECT_EQ(found[1].y_BSD.abs().max().item<float>(), 0);
  for (const auto& own : found)
    EXPECT_TRUE(torch::allclose(own.grads.w1_EHD,
                                expected.grads.w1_EHD.slice(0, own.owned.begin, own.owned.end),
                                1e-4, 1e-5));
}

TEST(ExpertExchange, EachRankSpawnsItsOwnExperts) {
  EVOMOE_NEEDS_RANKS();
  const LayerCase test{"switch", 5};
  for (const char* operation : {"copy", "mask", "noise", "drop-upcycling"}) {
    SCOPED_TRACE(operation);
    auto whole = layer_of(test, /*shared=*/true);
    whole->spawn(5, {.operation = operation}, 9);
    const auto found = on_ranks(2, [&](const Ranks& ranks) {
      auto layer = layer_of(test, /*shared=*/true);
      layer->divide_experts(ranks);
      layer->spawn(5, {.operation = operation}, 9);
      return std::pair(layer->owned(), layer->experts()->weights);
    });
    EXPECT_EQ(found[0].first, (ExpertRange{0, 3}));
    EXPECT_EQ(found[1].first, (ExpertRange{3, 5}));
    for (const auto& [owned, weights] : found) {
      for_each_weight(
          [&, owned = owned](const torch::Tensor& own, const torch::Tensor& all) {
            if (own.defined()) EXPECT_TRUE(torch::equal(own, all.slice(0, owned.begin, owned.end)));
          },
          weights, whole->experts()->weights);
    }
  }
}

}  // namespace
}  // namespace evomoe
