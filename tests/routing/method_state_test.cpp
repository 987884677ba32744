// What the methods with a state promise: biases, thresholds, tables and controllers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "evomoe/base/error.h"
#include "evomoe/routing/assignment.h"
#include "evomoe/routing/base_router.h"
#include "evomoe/routing/hash_router.h"
#include "evomoe/routing/moepp_router.h"
#include "evomoe/routing/quantile_router.h"
#include "evomoe/routing/sigmoid_router.h"
#include "evomoe/routing/stablemoe_router.h"
#include "evomoe/routing/topp_router.h"
#include "tests/routing/golden_case.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr int64_t kRows = 512;
constexpr int64_t kChoices = 8;

/// Logits of which some experts have the larger ones by far.
torch::Tensor uneven_logits() {
  torch::manual_seed(3);
  return torch::randn({kRows, kChoices}, torch::kFloat64) +
         torch::linspace(-1.5, 1.5, kChoices, torch::kFloat64);
}

RouterOptions of_method(const std::string& method) {
  RouterOptions options;
  options.method = method;
  options.model_dim = 4;
  options.num_experts = kChoices;
  options.vocab_size = 32;
  return options;
}

double mean_experts(const Routing& routing) {
  return static_cast<double>(routing.stats.load_E.sum().item<int64_t>()) /
         static_cast<double>(routing.stats.tokens);
}

double largest_over_mean(const Routing& routing) {
  const auto load_E = routing.stats.load_E.to(torch::kFloat64);
  return (load_E.max() / load_E.mean()).item<double>();
}

/// The routing after `updates` updates on the same logits.
Routing after_updates(Router& router, const torch::Tensor& logits_TE, int updates,
                      RoutingContext context = {}) {
  auto routing = router.route(logits_TE, context);
  for (int i = 0; i < updates; ++i) {
    router.end_update(routing.stats, {{1, routing.stats}});
    routing = router.route(logits_TE, context);
  }
  return routing;
}

TEST(RouterState, BiasesBalanceUnevenLogits) {
  const auto logits_TE = uneven_logits();
  for (const auto* rule : {"sign", "sign_centered", "proportional", "smebu"}) {
    auto options = of_method("sigmoid");
    options.get<SigmoidOptions>().bias_rule = rule;
    options.get<SigmoidOptions>().bias_rate = 0.01;
    const auto router = testing::logits_router(options, kChoices, torch::kFloat64);
    EXPECT_GT(largest_over_mean(router->route(logits_TE, {})), 2) << rule;
    EXPECT_LT(largest_over_mean(after_updates(*router, logits_TE, 300)), 1.1) << rule;
  }
  auto options = of_method("sigmoid");
  options.get<SigmoidOptions>().bias_rate = 0;
  const auto still = testing::logits_router(options, kChoices, torch::kFloat64);
  after_updates(*still, logits_TE, 3);
  EXPECT_EQ(still->named_buffers()["bias"].abs().sum().item<double>(), 0);
}

TEST(RouterState, QuantilesBalanceWithinFewUpdates) {
  const auto logits_TE = uneven_logits();
  for (const auto* method : {"quantile", "quantile-dynamic"}) {
    for (const int64_t bins : {0, 1000}) {
      auto options = of_method(method);
      options.get<QuantileOptions>().bins = bins;
      const auto router = testing::logits_router(options, kChoices, torch::kFloat64);
      const auto routing = after_updates(*router, logits_TE, 20);
      EXPECT_LT(largest_over_mean(routing), 1.1) << method << " " << bins;
      // A token that is below all thresholds gets an expert beyond them.
      EXPECT_NEAR(mean_experts(routing), 2, 0.15) << method << " " << bins;
    }
  }
}

TEST(RouterState, QuantilesOfAHistogramDoNotDependOnTheMicroBatches) {
  const auto logits_TE = uneven_logits();
  for (const auto* method : {"quantile", "quantile-dynamic"}) {
    const auto whole = testing::logits_router(of_method(method), kChoices, torch::kFloat64);
    const auto parts = testing::logits_router(of_method(method), kChoices, torch::kFloat64);
    for (int update = 0; update < 3; ++update) {
      const auto all = whole->route(logits_TE, {});
      whole->end_update(all.stats, {{0, all.stats}});
      auto sum = parts->route(logits_TE.slice(0, 0, 100), {}).stats;
      sum += parts->route(logits_TE.slice(0, 100), {}).stats;
      parts->end_update(sum, {{0, sum}});
    }
    for (const auto& buffer : whole->named_buffers())
      EXPECT_TRUE(torch::equal(buffer.value(), parts->named_buffers()[buffer.key()])) << method;
  }
}

TEST(RouterState, RoutingTwiceAndEvaluationLeaveTheStateAsItIs) {
  for (const auto& method : {"sigmoid", "topp", "relu", "quantile", "quantile-dynamic", "longcat",
                             "stablemoe", "hash"}) {
    SCOPED_TRACE(method);
    const auto router = testing::logits_router(of_method(method), kChoices, torch::kFloat64);
    const auto logits_TE = uneven_logits();
    RoutingContext context;
    context.token_id_T = torch::arange(kRows, torch::kInt64).remainder(32);
    after_updates(*router, logits_TE, 2, context);
    std::map<std::string, torch::Tensor> before;
    for (const auto& buffer : router->named_buffers())
      before[buffer.key()] = buffer.value().clone();
    const auto first = router->route(logits_TE, context);
    context.training = false;
    router->route(logits_TE, context);
    context.training = true;
    const auto second = router->route(logits_TE, context);
    EXPECT_TRUE(torch::equal(first.weight_A, second.weight_A));
    EXPECT_TRUE(torch::equal(first.token_A, second.token_A));
    for (const auto& buffer : router->named_buffers())
      EXPECT_TRUE(torch::equal(buffer.value(), before.at(buffer.key()))) << buffer.key();
  }
}

TEST(RouterState, ControllersReachTheMeanNumberOfExpertsThatIsAskedFor) {
  const auto logits_TE = uneven_logits();
  auto options = of_method("topp");
  options.get<ToppOptions>().target_k = 2.5;
  const auto topp = testing::logits_router(options, kChoices, torch::kFloat64);
  EXPECT_GT(std::abs(mean_experts(topp->route(logits_TE, {})) - 2.5), 0.3);
  EXPECT_NEAR(mean_experts(after_updates(*topp, logits_TE, 200)), 2.5, 0.1);

  options = of_method("dts");
  options.get<DtsOptions>().target_k = 2.5;
  const auto dts = testing::logits_router(options, kChoices, torch::kFloat64);
  RoutingContext context;
  context.schedule.temperature = 0.5;
  EXPECT_GT(mean_experts(dts->route(logits_TE, context)), 4);
  EXPECT_NEAR(mean_experts(after_updates(*dts, logits_TE, 200, context)), 2.5, 0.1);
}

TEST(RouterState, TheL1WeightRisesUntilReluRoutingIsSparse) {
  const auto relu = testing::logits_router(of_method("relu"), kChoices, torch::kFloat64);
  auto logits_TE = uneven_logits();
  const auto weight = [&] { return relu->named_buffers()["loss_weight"].item<double>(); };
  const double first = weight();
  auto stats = relu->route(logits_TE, {}).stats;  // about half of the experts
  relu->end_update(stats, {{0, stats}});
  EXPECT_NEAR(weight(), 1.2 * first, 1e-14);
  stats = relu->route(logits_TE - 3, {}).stats;
  relu->end_update(stats, {{0, stats}});
  EXPECT_NEAR(weight(), first, 1e-14);
}

TEST(Assignment, IsBalancedAndTheOptimalOneIsTheBest) {
  torch::manual_seed(5);
  for (const auto& [T, E] : std::vector<std::pair<int64_t, int64_t>>{
           {64, 8}, {61, 8}, {7, 8}, {0, 4}, {12, 1}, {9, 2}}) {
    SCOPED_TRACE(std::to_string(T) + " tokens, " + std::to_string(E) + " experts");
    const auto score_TE = torch::randn({T, E}) + torch::arange(E) * 0.3;
    const auto value = [&, &score_TE = score_TE](const torch::Tensor& expert_T) {
      return score_TE.gather(1, expert_T.unsqueeze(1)).sum().item<double>();
    };
    const auto auction_T = auction_assignment(score_TE), optimal_T = optimal_assignment(score_TE);
    for (const auto& expert_T : {auction_T, optimal_T}) {
      EXPECT_EQ(expert_T.size(0), T);
      if (T == 0) continue;
      const auto load_E = torch::bincount(expert_T, {}, E);
      EXPECT_LE(load_E.max().item<int64_t>(), (T + E - 1) / E);
    }
    EXPECT_GE(value(optimal_T), value(auction_T) - 1e-4);
  }
  // All orders of six tokens to three experts with two places each.
  const auto score_TE = torch::randn({6, 3}, torch::kFloat64);
  double best = -1e9;
  for (int code = 0; code < 729; ++code) {
    std::array<int, 3> load{};
    double sum = 0;
    for (int t = 0, rest = code; t < 6; ++t, rest /= 3) {
      ++load[rest % 3];
      sum += score_TE[t][rest % 3].item<double>();
    }
    if (load == std::array<int, 3>{2, 2, 2}) best = std::max(best, sum);
  }
  const auto expert_T = optimal_assignment(score_TE);
  EXPECT_NEAR(score_TE.gather(1, expert_T.unsqueeze(1)).sum().item<double>(), best, 1e-12);
}

TEST(Assignment, EqualAndInfiniteScoresAreAssignedAsWell) {
  for (const double value : {0.0, 1e30, std::nan(""), -std::numeric_limits<double>::infinity()}) {
    auto score_TE = torch::full({16, 4}, value);
    for (const auto& expert_T : {auction_assignment(score_TE), optimal_assignment(score_TE)})
      EXPECT_TRUE(torch::equal(torch::bincount(expert_T), torch::full({4}, 4, torch::kInt64)));
  }
}

TEST(BaseRouter, StartsWithOrthogonalRows) {
  const auto router = make_router(of_method("base"));
  router->initialise(7, 3);
  const auto first = router->gate_weight().detach().clone();  // 8 experts, 4 features
  EXPECT_TRUE(torch::allclose(first.t().mm(first), 0.01 * torch::eye(4), 1e-5, 1e-7));
  router->initialise(7, 3);
  EXPECT_TRUE(torch::equal(first, router->gate_weight()));
  router->initialise(7, 4);
  EXPECT_FALSE(torch::equal(first, router->gate_weight()));
}

TEST(HashRouter, ReadsTheCountsOfADictionaryAndNamesBadInput) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "hash_router_dict.txt";
  std::ofstream(path) << "the 50\nof 30\nand 30\nto 20\n";
  auto options = of_method("hash");
  options.num_experts = 2;
  options.get<HashOptions>() = {.kind = "balanced", .counts = path.string()};
  const auto router = make_router(options);
  router->initialise(1, 0);
  const auto table = router->named_buffers()["table"];
  const auto same = table.slice(0, 4, 8).to(torch::kInt64);  // behind the four specials
  EXPECT_TRUE(torch::equal(same, torch::tensor({0, 1, 1, 0}, torch::kInt64)));

  RoutingContext context;
  const auto x_TD = torch::rand({2, 4});
  EXPECT_THAT([&] { router->route(x_TD, context); },
              ThrowsMessage<Error>(HasSubstr("token id of each of the 2 rows")));
  context.token_id_T = torch::tensor({3, 32}, torch::kInt64);
  EXPECT_THAT([&] { router->route(x_TD, context); },
              ThrowsMessage<Error>(HasSubstr("a token has the id 32")));
  options.vocab_size = 5;
  EXPECT_THAT([&] { make_router(options)->initialise(1, 0); },
              ThrowsMessage<Error>(HasSubstr("has 8 words and the model 5")));
  options.get<HashOptions>().counts = "no such file";
  EXPECT_THAT([&] { make_router(options)->initialise(1, 0); },
              ThrowsMessage<Error>(HasSubstr("no such file")));
  std::filesystem::remove(path);
}

TEST(HashRouter, LayersHaveTablesOfTheirOwn) {
  const auto router = make_router(of_method("hash"));
  router->initialise(1, 0);
  const auto first = router->named_buffers()["table"].clone();
  router->initialise(1, 1);
  EXPECT_FALSE(torch::equal(first, router->named_buffers()["table"]));
}

TEST(StableMoe, TheExpertOfAWordIsFixedWhenStageOneIsOver) {
  auto options = of_method("stablemoe");
  options.get<StableMoeOptions>().stage1_updates = 2;
  const auto router = make_router(options);
  router->initialise(5, 0);
  torch::manual_seed(6);
  const auto x_TD = torch::randn({32, 4});
  RoutingContext context;
  context.token_id_T = torch::arange(32, torch::kInt64);
  const auto logits_TE = torch::linear(x_TD, router->gate_weight());
  const auto experts_of = [](const Routing& routing) {
    return routing.expert_A().index_select(0, routing.token_A.argsort());
  };
  auto routing = router->route(x_TD, context);
  EXPECT_TRUE(torch::equal(experts_of(routing), logits_TE.argmax(1)));
  EXPECT_EQ(routing.losses.size(), 3U);
  auto parameters = router->named_parameters();
  const auto distilled = [&] {
    return parameters["distill_embedding"].mm(parameters["distill_centroid"].t()).argmax(1);
  };
  context.training = false;
  routing = router->route(x_TD, context);
  EXPECT_TRUE(torch::equal(experts_of(routing), distilled()));
  EXPECT_EQ(routing.losses.size(), 1U);
  context.training = true;
  for (int update = 0; update < 2; ++update) router->end_update(routing.stats, {});
  const auto fixed_T = distilled();
  EXPECT_TRUE(torch::equal(experts_of(router->route(x_TD, context)), fixed_T));
  {
    const torch::NoGradGuard no_grad;
    parameters["distill_embedding"].normal_();  // as weight decay would go on moving it
  }
  routing = router->route(x_TD, context);
  EXPECT_TRUE(torch::equal(experts_of(routing), fixed_T));
  EXPECT_EQ(routing.losses.size(), 1U);
  EXPECT_TRUE(routing.weight_A.requires_grad());
  EXPECT_THAT([&] { router->route(x_TD, {}); },
              ThrowsMessage<Error>(HasSubstr("token id of each of the 32 rows")));
}

TEST(DtsRouter, ScaledWeightsSumToOneAndTeachTheGate) {
  const auto given_TE = uneven_logits();
  for (const bool hard : {false, true}) {
    for (const int64_t final_k : {1, 2}) {
      auto options = of_method("dts");
      options.get<DtsOptions>().scale_weights = true;
      options.get<DtsOptions>().final_k = final_k;
      const auto router = testing::logits_router(options, kChoices, torch::kFloat64);
      RoutingContext context;
      context.schedule = {.temperature = 0.3, .hard = hard};
      auto logits_TE = given_TE.clone().requires_grad_();
      const auto routing = router->route(logits_TE, context);
      const auto sum_T = routing.dense(kRows).sum(1);
      EXPECT_TRUE(torch::allclose(sum_T, torch::ones_like(sum_T)));
      const auto least = (routing.dense(kRows) != 0).sum(1).min().item<int64_t>();
      EXPECT_GE(least, final_k);
      if (hard) {
        EXPECT_EQ(routing.num_assignments(), kRows * final_k);
      }
      sum_T.sum().backward();
      EXPECT_GT(logits_TE.grad().abs().sum().item<double>(), 1);
      context.training = false;
      const auto evaluated = router->route(given_TE, context);
      EXPECT_EQ(evaluated.num_assignments(), kRows * final_k);
      EXPECT_TRUE(
          torch::equal(evaluated.dense(kRows) != 0,
                       given_TE >= std::get<0>(given_TE.topk(final_k)).slice(1, final_k - 1)));
    }
  }
}

TEST(DtsRouter, AThresholdMayBeAShareOfTheMeanProbability) {
  const auto logits_TE = uneven_logits();
  RoutingContext context;
  context.schedule = {.temperature = 0.5, .noise_scale = 0};
  auto options = of_method("dts");
  options.get<DtsOptions>().threshold_share = 0.5;
  const auto shared = testing::logits_router(options, kChoices, torch::kFloat64);
  options.get<DtsOptions>() = {.threshold = 0.5 / kChoices};
  const auto plain = testing::logits_router(options, kChoices, torch::kFloat64);
  EXPECT_TRUE(torch::equal(shared->route(logits_TE, context).dense(kRows),
                           plain->route(logits_TE, context).dense(kRows)));
}

TEST(MoeppRouter, ConstantAndCopyExpertsAreWhatTheirFormulasSay) {
  auto options = of_method("moepp");
  options.num_experts = 2;
  options.get<MoeppOptions>() = {.constant_experts = 2, .copy_experts = 1, .null_experts = 1};
  const auto router = make_router(options);
  router->initialise(9, 0);
  torch::manual_seed(10);
  const auto x_TD = torch::randn({40, 4});
  const auto routing = router->route(x_TD, {});
  const auto p = router->named_parameters();
  const auto gate_AD = torch::cat({router->gate_weight(), p["free_weight"]});
  const auto probability_TA = torch::softmax(torch::linear(x_TD, gate_AD), 1);
  const auto beside_TD =
      x_TD * routing.identity_T.unsqueeze(1) + routing.vector_weight_TN.mm(routing.vector_ND);
  for (int64_t t = 0; t < 40; ++t) {
    const auto [value_K, expert_K] = probability_TA[t].topk(2);
    double sum = 0;
    for (int64_t i = 0; i < 2; ++i) {
      if (expert_K[i].item<int64_t>() < 5) sum += value_K[i].item<double>();
    }
    auto expected_D = torch::zeros({4});
    for (int64_t i = 0; i < 2; ++i) {
      const auto e = expert_K[i].item<int64_t>();
      const auto w = value_K[i] / (sum == 0 ? 1 : sum);
      if (e == 4) expected_D += w * x_TD[t];
      if (e == 2 || e == 3) {
        const auto mix_2 = torch::softmax(p["constant_gate"][e - 2].mv(x_TD[t]), 0);
        expected_D += w * (mix_2[0] * x_TD[t] + mix_2[1] * p["constant"][e - 2]);
      }
    }
    EXPECT_TRUE(torch::allclose(beside_TD[t], expected_D, 1e-4, 1e-6)) << t;
  }
}

}  // namespace
}  // namespace evomoe
