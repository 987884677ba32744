#include "evomoe/moe/moe_layer.h"

#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/routing/dts_router.h"
#include "evomoe/routing/gshard_router.h"

namespace evomoe {
namespace {

constexpr int64_t kDim = 16, kHidden = 32, kExperts = 4;

MoELayerOptions some_options(const std::string& method, bool shared = false) {
  MoELayerOptions options;
  options.router.method = method;
  options.router.model_dim = kDim;
  options.router.num_experts = kExperts;
  options.router.get<CapacityOptions>().train_factor = 0;
  options.hidden_dim = kHidden;
  options.shared_expert = shared;
  options.layer = 1;
  return options;
}

SelfCommunicator& self() {
  static SelfCommunicator communicator;
  return communicator;
}

RoutingContext training(const RouterSchedule& schedule = {}) {
  RoutingContext context;
  context.communicator = &self();
  context.schedule = schedule;
  return context;
}

torch::Tensor some_input(int64_t B = 3, int64_t S = 5) {
  torch::manual_seed(8);
  return torch::randn({B, S, kDim});
}

TEST(MoELayer, ParametersHaveTheNamesOfCheckpoints) {
  MoELayer layer(some_options("switch"));
  std::vector<std::string> names;
  for (const auto& item : layer->named_parameters()) names.push_back(item.key());
  EXPECT_EQ(names, (std::vector<std::string>{"gate.wg.weight", "experts.w1", "experts.b1",
                                             "experts.w2", "experts.b2"}));
}

TEST(MoELayer, InitialisationDependsOnSeedAndLayerOnly) {
  MoELayer first(some_options("switch")), second(some_options("gshard"));
  first->initialise(3);
  second->initialise(3);
  for (const auto& item : first->named_parameters()) {
    EXPECT_TRUE(torch::equal(item.value(), second->named_parameters()[item.key()])) << item.key();
  }
  second->initialise(4);
  EXPECT_FALSE(torch::equal(first->router()->gate_weight(), second->router()->gate_weight()));
  EXPECT_LE(first->router()->gate_weight().abs().max().item<double>(), 0.25);
}

TEST(MoELayer, EveryFirstValueFollowsFromTheInitialSeed) {
  for (const bool shared : {false, true}) {
    for (const char* method : {"dense", "dts", "gshard", "switch", "topk"}) {
      SCOPED_TRACE(method);
      auto options = some_options(method, shared);
      options.initial_seed = 9;
      torch::manual_seed(1);
      MoELayer first(options);
      torch::manual_seed(2);
      MoELayer second(options);
      options.initial_seed = 10;
      MoELayer other(options);
      options.initial_seed.reset();
      MoELayer late(options);
      late->initialise(9);
      for (const auto& item : first->named_parameters()) {
        const auto named = [&](MoELayer& layer) { return layer->named_parameters()[item.key()]; };
        EXPECT_TRUE(torch::equal(item.value(), named(second))) << item.key();
        EXPECT_TRUE(torch::equal(item.value(), named(late))) << item.key();
        EXPECT_FALSE(torch::equal(item.value(), named(other))) << item.key();
      }
    }
  }
}

TEST(MoELayer, TheSharedExpertIsADenseBlockForEveryToken) {
  MoELayer layer(some_options("dts", /*shared=*/true));
  const auto x = some_input();
  const auto output = layer->forward(x, training());
  const auto& bank = layer->experts()->weights;
  const auto hidden = torch::gelu(torch::matmul(x, bank.w1_EHD[0].t()) + bank.b1_EH[0]);
  const auto expected = torch::matmul(hidden, bank.w2_EDH[0].t()) + bank.b2_ED[0];
  EXPECT_TRUE(torch::allclose(output.y_BSD, expected, 1e-5, 1e-6));
  EXPECT_TRUE(output.losses.empty());
  EXPECT_EQ(output.stats.load_E[0].item<int64_t>(), 15);
  EXPECT_EQ(output.stats.assignments, 15);
  // A batch that would be padded with zeros gives the same: padding matters to routers only.
  EXPECT_TRUE(torch::equal(layer->forward(x, training(), 4).y_BSD, output.y_BSD));
}

TEST(MoELayer, DefaultVectorsStandInForExpertsAndFollowWhatTheseGave) {
  auto options = some_options("default-moe");
  options.activation_dropout = options.dropout = 0.0;
  MoELayer layer(options);
  const auto x = some_input();
  const auto x_TD = x.reshape({15, kDim});
  auto default_ED = layer->router()->named_buffers()["default"];
  torch::manual_seed(5);
  const auto before_ED = torch::randn_like(default_ED);
  default_ED.copy_(before_ED);
  const auto output = layer->forward(x, training());

  const auto& bank = layer->experts()->weights;
  const auto p_TE = torch::softmax(x_TD.mm(layer->router()->gate_weight().t()), 1);
  const auto best_TE = p_TE >= std::get<0>(p_TE.topk(2, 1)).slice(1, 1, 2);
  auto expected_TD = (p_TE * best_TE.logical_not()).mm(before_ED);
  std::vector<torch::Tensor> moved_D;
  for (int64_t e = 0; e < kExperts; ++e) {
    const auto hidden = torch::gelu(x_TD.mm(bank.w1_EHD[e].t()) + bank.b1_EH[e]);
    const auto out_TD = hidden.mm(bank.w2_EDH[e].t()) + bank.b2_ED[e];
    expected_TD = expected_TD + out_TD * (p_TE * best_TE).slice(1, e, e + 1);
    const auto used_T1 = best_TE.slice(1, e, e + 1);
    ASSERT_TRUE(used_T1.any().item<bool>());
    moved_D.push_back(0.9 * before_ED[e] + 0.1 * (out_TD * used_T1).sum(0) / used_T1.sum());
  }
  EXPECT_TRUE(torch::allclose(output.y_BSD.view({15, kDim}), expected_TD, 1e-5, 1e-6));
  layer->router()->end_update(output.stats, {{1, output.stats}});
  EXPECT_TRUE(torch::allclose(default_ED, torch::stack(moved_D), 1e-5, 1e-6));

  // Rows that stand in for another rank's move nothing; an expert without tokens stays.
  auto context = training();
  context.stands_in = true;
  const auto stand_in = layer->forward(x, context);
  const auto after_ED = default_ED.clone();
  layer->router()->end_update(stand_in.stats, {{1, stand_in.stats}});
  EXPECT_TRUE(torch::equal(default_ED, after_ED));
  context = training();
  context.training = false;
  EXPECT_FALSE(layer->forward(x, context).stats.output_sum_ED1.defined());
}

TEST(MoELayer, GrowthCopiesExpertsAndMovesTheRowsOfTheCopies) {
  auto options = some_options("dense");
  options.router.num_experts = 2;
  MoELayer layer(options);
  const auto x = some_input();
  const auto before = layer->forward(x, training()).y_BSD;
  const auto gate_2D = layer->router()->gate_weight().detach().clone();
  const auto w1_2HD = layer->experts()->weights.w1_EHD.detach().clone();
  EXPECT_THROW(layer->grow(3, 0, 1), Error);
  layer->grow(4, /*noise=*/0, 1);
  // With equal rows the copies of an expert have its weight together.
  EXPECT_TRUE(torch::allclose(layer->forward(x, training()).y_BSD, before, 1e-5, 1e-6));
  EXPECT_TRUE(torch::equal(layer->experts()->weights.w1_EHD, w1_2HD.repeat({2, 1, 1})));
  layer->grow(8, /*noise=*/0.5, 1);
  const auto gate_8D = layer->router()->gate_weight().detach();
  EXPECT_TRUE(torch::equal(gate_8D.slice(0, 0, 4), gate_2D.repeat({2, 1})));
  const auto moved = gate_8D.slice(0, 4) - gate_2D.repeat({2, 1});
  EXPECT_NEAR((moved.std() / gate_2D.std(/*unbiased=*/false)).item<double>(), 0.5, 0.15);
  EXPECT_EQ(layer->forward(x, training()).stats.load_E.size(0), 8);

  // What a router has of each expert follows.
  options = some_options("sigmoid");
  options.router.num_experts = 2;
  MoELayer biased(options);
  biased->router()->named_buffers()["bias"].copy_(torch::tensor({0.25, -0.5}));
  biased->grow(6, 0.1, 1);
  EXPECT_TRUE(torch::equal(biased->router()->named_buffers()["bias"],
                           torch::tensor({0.25, -0.5, 0.25, -0.5, 0.25, -0.5})));
}

TEST(MoELayer, AfterACopyWithAllExpertsTheOutputIsTheSharedExperts) {
  MoELayer layer(some_options("dts", /*shared=*/true));
  const auto x = some_input();
  const auto before = layer->forward(x, training()).y_BSD;
  layer->spawn(kExperts, {.operation = "copy"}, 1);
  EXPECT_FALSE(layer->in_shared_expert_stage());
  const auto output = layer->forward(x, training({.temperature = 1e4}));
  EXPECT_EQ(output.stats.assignments, 15 * kExperts);
  EXPECT_TRUE(torch::allclose(output.y_BSD, before, 1e-5, 1e-6));
}

TEST(MoELayer, ACopyWithNormalisedWeightsIsTheSharedExpertInEveryPhaseAndInEvaluation) {
  auto options = some_options("dts", /*shared=*/true);
  options.router.get<DtsOptions>().normalize_weights = true;
  options.router.get<CapacityOptions>().eval_fraction = -1;
  MoELayer layer(options);
  layer->initialise(4);
  const auto x = some_input();
  const auto before = layer->forward(x, training()).y_BSD;
  layer->spawn(kExperts, {.operation = "copy"}, 1);
  const auto expect_same = [&](const RoutingContext& context, const char* phase) {
    const auto output = layer->forward(x, context);
    EXPECT_TRUE(torch::allclose(output.y_BSD, before, 1e-5, 1e-6)) << phase;
    return output.stats.assignments;
  };
  auto evaluation = training({.temperature = 0.2});
  evaluation.training = false;
  const auto soft = expect_same(training({.temperature = 0.2}), "soft");
  EXPECT_GT(soft, 15);
  EXPECT_LT(soft, 15 * kExperts);
  EXPECT_EQ(expect_same(evaluation, "evaluation of the soft phase"), 15);
  evaluation.schedule.hard = true;
  EXPECT_EQ(expect_same(training({.temperature = 0.2, .hard = true}), "hard"), 15);
  EXPECT_EQ(expect_same(evaluation, "evaluation"), 15);
}

TEST(MoELayer, RoutedAsInTrainingWithoutDropoutIsALayerWithoutDropout) {
  auto options = some_options("dts");
  MoELayer plain(options);
  options.dropout = 0.4;
  options.activation_dropout = 0.3;
  MoELayer layer(options);
  layer->router()->gate_weight().data().copy_(plain->router()->gate_weight());
  const auto x = some_input();
  auto context = training({.temperature = 0.3});
  EXPECT_FALSE(torch::equal(layer->forward(x, context).y_BSD, plain->forward(x, context).y_BSD));
  context.without_dropout = true;
  EXPECT_TRUE(torch::equal(layer->forward(x, context).y_BSD, plain->forward(x, context).y_BSD));
}

TEST(MoELayer, WithoutAnInitialSeedTheValuesWaitForInitialise) {
  auto options = some_options("dts");
  MoELayer first(options);
  options.initial_seed.reset();
  MoELayer second(options);
  for (auto* layer : {&first, &second}) (*layer)->initialise(6);
  for (const auto& item : first->named_parameters()) {
    EXPECT_TRUE(torch::equal(item.value(), second->named_parameters()[item.key()])) << item.key();
  }
}

TEST(MoELayer, GradientsOfCopiesAddUpToThoseOfTheSharedExpert) {
  MoELayer layer(some_options("dts", /*shared=*/true));
  const auto x = some_input(), r = torch::randn_like(x);
  (layer->forward(x, training()).y_BSD * r).sum().backward();
  const auto shared_grad = layer->experts()->weights.w1_EHD.grad()[0].clone();
  EXPECT_FALSE(layer->router()->gate_weight().grad().defined());
  layer->spawn(kExperts, {.operation = "copy"}, 1);
  (layer->forward(x, training({.temperature = 1e4})).y_BSD * r).sum().backward();
  EXPECT_TRUE(
      torch::allclose(layer->experts()->weights.w1_EHD.grad().sum(0), shared_grad, 1e-4, 1e-5));
  // Equal experts with weights that add up to 1 leave the router nothing to learn (Net2Net test 3).
  EXPECT_LT(layer->router()->gate_weight().grad().abs().max().item<double>(), 1e-5);
}

TEST(MoELayer, SpawningReplacesTheExpertsAndKeepsTheGate) {
  MoELayer layer(some_options("dts", /*shared=*/true));
  const auto gate = layer->router()->gate_weight();
  const auto w1 = layer->experts()->weights.w1_EHD;
  layer->spawn(kExperts, {.operation = "mask", .ratio = 0.5}, 1);
  auto parameters = layer->named_parameters();
  EXPECT_EQ(parameters.size(), 5U);
  EXPECT_TRUE(parameters["gate.wg.weight"].is_same(gate));
  EXPECT_FALSE(parameters["experts.w1"].is_same(w1));
  EXPECT_EQ(parameters["experts.w1"].size(0), kExperts);
  EXPECT_TRUE(parameters["experts.w1"].requires_grad());
  EXPECT_FALSE(torch::equal(parameters["experts.w1"][0], parameters["experts.w1"][1]));
  EXPECT_THROW(layer->spawn(kExperts, {}, 1), Error);
}

TEST(MoELayer, GatedExpertsAreSpawnedWithAllTheirWeights) {
  auto options = some_options("dts", /*shared=*/true);
  options.gated = true;
  options.biases = false;
  options.activation = "silu";
  MoELayer layer(options);
  const auto one = layer->experts()->weights;
  layer->spawn(kExperts, {.operation = "copy"}, 1);
  std::vector<std::string> names;
  for (const auto& item : layer->named_parameters()) names.push_back(item.key());
  EXPECT_EQ(names,
            (std::vector<std::string>{"gate.wg.weight", "experts.w1", "experts.w2", "experts.w3"}));
  for (int64_t e = 0; e < kExperts; ++e)
    EXPECT_TRUE(torch::equal(layer->experts()->weights.w3_EHD[e], one.w3_EHD[0]));
}

TEST(MoELayer, SpawningAnotherNumberThanTheRoutersIsAnError) {
  MoELayer layer(some_options("dts", /*shared=*/true));
  EXPECT_THROW(layer->spawn(kExperts + 1, {.operation = "copy"}, 1), Error);
}

TEST(MoELayer, ASplitBatchGivesTheSameOutputWithNoiseAndDropout) {
  auto options = some_options("dts");
  options.dropout = 0.3;
  options.activation_dropout = 0.2;
  MoELayer layer(options);
  const auto x = some_input(4, 5);
  auto context = training({.temperature = 0.3});
  context.noise.sequence_length = 5;
  const auto whole = layer->forward(x, context).y_BSD;
  const auto first = layer->forward(x.slice(0, 0, 1), context).y_BSD;
  context.noise.first_sequence = 1;
  const auto rest = layer->forward(x.slice(0, 1), context).y_BSD;
  EXPECT_TRUE(torch::allclose(torch::cat({first, rest}), whole, 1e-5, 1e-6));
}

TEST(MoELayer, RecomputingGivesTheSameBits) {
  std::vector<torch::Tensor> gradients;
  for (const bool recompute : {false, true}) {
    auto options = some_options("gshard");
    options.recompute_experts = recompute;
    options.dropout = 0.1;
    MoELayer layer(options);
    layer->initialise(2);
    const auto output = layer->forward(some_input(), training());
    output.y_BSD.pow(2).sum().backward();
    for (const auto& parameter : layer->parameters()) gradients.push_back(parameter.grad());
  }
  ASSERT_EQ(gradients.size(), 10U);
  for (size_t i = 0; i < 5; ++i) EXPECT_TRUE(torch::equal(gradients[i], gradients[i + 5])) << i;
}

TEST(MoELayer, CapacityDropsAreCountedAndTheirTokensGetZeros) {
  auto options = some_options("switch");
  options.router.get<CapacityOptions>().train_factor = 0.25;
  MoELayer layer(options);
  const auto output = layer->forward(some_input(4, 8), training());
  EXPECT_GT(output.stats.dropped.item<int64_t>(), 0);
  EXPECT_EQ(output.stats.dropped.item<int64_t>() + output.stats.assignments, 32);
  const auto idle = (output.y_BSD.flatten(0, 1).abs().amax(1) == 0).sum().item<int64_t>();
  EXPECT_EQ(idle, output.stats.dropped.item<int64_t>());
}

TEST(MoELayer, FreeExpertsAreAddedToTheOutputAndLearn) {
  for (const auto* method : {"moepp", "longcat"}) {
    SCOPED_TRACE(method);
    MoELayer layer(some_options(method));
    {
      const torch::NoGradGuard no_grad;
      // Without experts' output the free experts' is left.
      for_each_weight(
          [](const torch::Tensor& weight) {
            if (weight.defined()) weight.zero_();
          },
          layer->experts()->weights);
    }
    const auto x_BSD = some_input(3, 8);
    const auto output = layer->forward(x_BSD, training());
    const auto routing = layer->router()->route(x_BSD.flatten(0, 1), training());
    auto expected_TD = x_BSD.flatten(0, 1) * routing.identity_T.unsqueeze(1);
    if (routing.vector_weight_TN.defined())
      expected_TD = expected_TD + routing.vector_weight_TN.mm(routing.vector_ND);
    EXPECT_GT(expected_TD.abs().max().item<double>(), 0.1);
    EXPECT_TRUE(torch::allclose(output.y_BSD.flatten(0, 1), expected_TD, 1e-5, 1e-6));
    output.y_BSD.square().sum().backward();
    for (const auto& item : layer->router()->named_parameters())
      EXPECT_GT(item.value().grad().abs().sum().item<double>(), 0) << item.key();
    // Rows of padding change nothing.
    const auto padded = layer->forward(x_BSD, training(), /*padded_batch=*/5);
    EXPECT_TRUE(torch::allclose(padded.y_BSD, output.y_BSD, 1e-5, 1e-6));
  }
}

TEST(MoELayer, DroplessGshardStillNormalisesItsWeights) {
  auto options = some_options("gshard");
  options.router.get<GshardOptions>().second_expert_policy = "all";
  MoELayer layer(options);
  layer->initialise(1);
  {
    const torch::NoGradGuard no_grad;
    const auto& weights = layer->experts()->weights;
    for_each_weight(
        [](const torch::Tensor& weight) {
          if (weight.defined()) weight.zero_();
        },
        weights);
    weights.b2_ED.fill_(1);
  }
  // Every expert answers 1, so the output is the sum of the combine weights.
  const auto output = layer->forward(some_input(), training());
  EXPECT_TRUE(torch::allclose(output.y_BSD, torch::ones_like(output.y_BSD)));
}

TEST(MoELayer, PaddingABatchWithRowsThatAreNotValidLeavesRealRows) {
  MoELayer layer(some_options("switch"));
  const auto x = some_input();
  const auto plain = layer->forward(x, training());
  const auto padded = layer->forward(x, training(), 5);
  EXPECT_TRUE(torch::equal(plain.y_BSD, padded.y_BSD));
  EXPECT_EQ(padded.stats.tokens, plain.stats.tokens);
  // The rows that fill the batch up never take a place, whatever becomes of padding within it.
  auto context = training();
  context.valid_T = torch::arange(15) % 5 != 4;
  context.routed_T = torch::ones({15}, torch::kBool);
  const auto routed = layer->forward(x, context, 5);
  EXPECT_TRUE(torch::equal(plain.y_BSD, routed.y_BSD));
  EXPECT_EQ(routed.stats.assignments, 15);
  EXPECT_EQ(routed.stats.tokens, 12);
}

TEST(MoELayer, BadInputsAreNamed) {
  MoELayer layer(some_options("switch"));
  EXPECT_THROW(layer->forward(torch::randn({3, 5, kDim + 1}), training()), Error);
  EXPECT_THROW(layer->forward(torch::randn({3, kDim}), training()), Error);
  EXPECT_THROW(layer->forward(some_input(3), training(), /*padded_batch=*/2), Error);
  auto context = training();
  context.valid_T = torch::ones({4}, torch::kBool);
  EXPECT_THROW(layer->forward(some_input(), context), Error);
  context = training();
  context.routed_T = torch::ones({4}, torch::kBool);
  EXPECT_THROW(layer->forward(some_input(), context), Error);
  auto options = some_options("switch");
  options.hidden_dim = 0;
  EXPECT_THROW(MoELayer{options}, Error);
}

}  // namespace
}  // namespace evomoe
