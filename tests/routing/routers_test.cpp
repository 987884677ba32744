// What every routing method promises, against ten-line dense definitions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/parallel/communicator.h"
#include "evomoe/routing/dts_router.h"
#include "evomoe/routing/router_metrics.h"
#include "evomoe/routing/sigmoid_router.h"
#include "tests/routing/golden_case.h"

namespace evomoe {
namespace {

using testing::logits_router;
using testing::loss_named;
using testing::route_with_capacity;

constexpr int64_t kTokens = 48;
constexpr int64_t kExperts = 6;
constexpr int64_t kWords = 20;
const RouterSchedule kSoft = {.temperature = 0.3}, kHard = {.temperature = 0.3, .hard = true};

const std::vector<std::string>& methods() {
  static const std::vector<std::string> names = {
      "base",          "default-moe",  "dense",     "densemixer", "dts",
      "expert-choice", "gshard",       "hash",      "longcat",    "moepp",
      "quantile",      "relu",         "sigmoid",   "sinkhorn",   "quantile-dynamic",
      "sparsemixer",   "sparsemixer2", "stablemoe", "switch",     "topk",
      "topp"};
  return names;
}

bool is_one_of(const std::string& method, const std::set<std::string>& names) {
  return names.contains(method);
}

/// Whether a token's experts depend on the other rows.
bool chooses_together(const std::string& method) {
  return is_one_of(method, {"base", "expert-choice", "sinkhorn"});
}

/// Whether the gate has E logits and no more.
bool has_plain_gate(const std::string& method) {
  return !is_one_of(method, {"hash", "longcat", "moepp"});
}

/// A router of each method with all its noise and losses on, dropless.
std::shared_ptr<Router> noisy_router(const std::string& method) {
  RouterOptions options;
  options.method = method;
  options.get<CapacityOptions>().train_factor = 0;
  options.get<CapacityOptions>().eval_fraction = -1;
  options.z_loss_weight = 0.5;
  options.vocab_size = kWords;
  options.get<GumbelGateOptions>().use_gumbel_gates = method == "switch";
  return logits_router(options, kExperts, torch::kFloat64);
}

torch::Tensor random_logits(int64_t seed = 7) {
  torch::manual_seed(seed);
  return torch::randn({kTokens, kExperts}, torch::kFloat64);
}

/// With all noise given from outside.
RoutingContext injected(bool training = true, const RouterSchedule& schedule = kSoft) {
  torch::manual_seed(8);
  RoutingContext context;
  context.training = training;
  context.schedule = schedule;
  context.gumbel_TE = -(-torch::rand({kTokens, kExperts}, torch::kFloat64).log()).log();
  context.second_gumbel_TE = -(-torch::rand({kTokens, kExperts}, torch::kFloat64).log()).log();
  context.uniform_T = torch::rand({kTokens}, torch::kFloat64);
  context.token_id_T = torch::randint(kWords, {kTokens}, torch::kInt64);
  return context;
}

torch::Tensor chosen(const torch::Tensor& expert_T) {
  return expert_T.unsqueeze(1) == torch::arange(kExperts);
}

TEST(Routers, WithoutTokensOrValidOnesEverythingIsFinite) {
  for (const auto& method : methods()) {
    for (const bool hard : {false, true}) {
      for (const bool training : {false, true}) {
        for (const int64_t tokens : {int64_t{0}, kTokens}) {
          SCOPED_TRACE(
              fmt::format("{} hard {} training {} tokens {}", method, hard, training, tokens));
          auto context = injected(training, hard ? kHard : kSoft);
          for (auto* given : {&context.gumbel_TE, &context.second_gumbel_TE, &context.uniform_T,
                              &context.token_id_T})
            *given = given->slice(0, 0, tokens);
          context.valid_T = context.routed_T = torch::zeros({tokens}, torch::kBool);
          const auto logits_TE = random_logits().slice(0, 0, tokens).clone().requires_grad_(true);
          const auto routing = route_with_capacity(*noisy_router(method), logits_TE, context);
          auto sum = routing.weight_A.sum() * 0;
          for (const auto& loss : routing.losses) {
            EXPECT_TRUE(torch::isfinite(loss.value).all().item<bool>()) << loss.name;
            sum = sum + loss.value.sum();
          }
          if (sum.requires_grad()) {
            sum.backward();
            EXPECT_TRUE(torch::isfinite(logits_TE.grad()).all().item<bool>());
          }
          for (const auto& [name, value] : routing.stats.reference)
            EXPECT_TRUE(torch::isfinite(value).all().item<bool>()) << name;
          const auto metrics = router_metrics(routing.stats);
          EXPECT_EQ(metrics.tokens, 0);
          for (const double value :
               {metrics.mean_active, metrics.token_entropy, metrics.dropped_share,
                metrics.unrouted_share, metrics.non_argmax_share, metrics.load_cv,
                metrics.max_violation})
            EXPECT_EQ(value, 0);
        }
      }
    }
  }
}

TEST(Routers, WeightsEqualTheirDenseDefinitions) {
  const auto logits_TE = random_logits();
  const auto context = injected();
  const auto p = torch::softmax(logits_TE, 1);
  const auto y = torch::softmax((logits_TE + context.gumbel_TE) / 0.3, 1);
  const auto first = chosen(p.argmax(1));
  const auto second =
      chosen((logits_TE + context.second_gumbel_TE).masked_fill(first, -1e9).argmax(1));
  const auto both = first.logical_or(second);
  const auto top2 = p >= std::get<0>(p.topk(2, 1)).slice(1, 1, 2);
  const std::map<std::string, torch::Tensor> expected = {
      {"dense", p},
      {"dts", p * (y > 0.001)},
      {"gshard", p * both / (p * both).sum(1, true)},
      {"switch", y * chosen(y.argmax(1))},
      {"topk", p * top2 / (p * top2).sum(1, true)},
  };
  // The others have golden cases (routing_methods_golden_test.cpp).
  for (const auto& [method, weight_TE] : expected) {
    const auto routing = route_with_capacity(*noisy_router(method), logits_TE, context);
    EXPECT_TRUE(torch::allclose(routing.dense(kTokens), weight_TE, 1e-12, 1e-14)) << method;
  }
  const auto hard = noisy_router("dts")->route(logits_TE, injected(/*training=*/true, kHard));
  EXPECT_TRUE(torch::allclose(hard.dense(kTokens), p * chosen(y.argmax(1)), 1e-12, 1e-14));
}

TEST(Routers, PermutingTokensPermutesTheRouting) {
  const auto logits_TE = random_logits();
  auto context = injected();
  auto permuted = context;
  const auto order_T = torch::randperm(kTokens);
  permuted.gumbel_TE = context.gumbel_TE.index_select(0, order_T);
  permuted.second_gumbel_TE = context.second_gumbel_TE.index_select(0, order_T);
  permuted.uniform_T = context.uniform_T.index_select(0, order_T);
  permuted.token_id_T = context.token_id_T.index_select(0, order_T);
  for (const auto& method : methods()) {
    const auto router = noisy_router(method);
    const auto original = router->route(logits_TE, context).dense(kTokens);
    const auto moved = router->route(logits_TE.index_select(0, order_T), permuted).dense(kTokens);
    EXPECT_TRUE(torch::equal(original.index_select(0, order_T), moved)) << method;
  }
}

TEST(Routers, PaddingTakesNoSlotAndStatisticsCountRealTokensOnly) {
  const auto logits_TE = random_logits();
  for (const auto& method : methods()) {
    if (chooses_together(method)) continue;
    for (const bool training : {true, false}) {
      SCOPED_TRACE(method + (training ? " training" : " evaluation"));
      auto context = injected(training);
      const auto router = noisy_router(method);
      const auto all = router->route(logits_TE, context);
      context.valid_T = torch::arange(kTokens) % 3 != 1;
      const auto padded = router->route(logits_TE, context);
      const auto valid_T1 = context.valid_T.unsqueeze(1);
      // The dense-to-sparse gate routes padding in training, as the reference does.
      const bool routes_padding = method == "dts" && training;
      const auto expected_TE = routes_padding ? all.dense(kTokens) : all.dense(kTokens) * valid_T1;
      EXPECT_TRUE(torch::equal(padded.dense(kTokens), expected_TE));
      EXPECT_EQ(padded.stats.tokens, 32);
      EXPECT_EQ(padded.stats.assignments, padded.num_assignments());
      const auto used_TE = (all.dense(kTokens) != 0).logical_and(valid_T1);
      EXPECT_TRUE(torch::equal(padded.stats.load_E, used_TE.sum(0)));
      EXPECT_EQ(padded.stats.active_E1.sum().item<int64_t>(), 32);
      if (!has_plain_gate(method)) continue;
      const auto p = torch::softmax(logits_TE, 1);
      EXPECT_NEAR(padded.stats.entropy_sum.item<double>(),
                  -(p * p.log() * valid_T1).sum().item<double>(), 1e-10);
      const auto lse_T = torch::logsumexp(logits_TE, 1);
      EXPECT_NEAR(loss_named(padded, "z").item<double>(),
                  lse_T.square().masked_select(context.valid_T).mean().item<double>(), 1e-12);
    }
  }
}

TEST(Routers, GradientsMatchFiniteDifferencesInFloat64) {
  const auto context = injected();
  torch::manual_seed(9);
  const auto factor_TE = torch::randn({kTokens, kExperts}, torch::kFloat64);
  for (const auto& method : methods()) {
    // No gradient, and one that is not that of the value.
    if (is_one_of(method, {"densemixer", "hash", "sparsemixer", "sparsemixer2"})) continue;
    SCOPED_TRACE(method);
    const auto router = noisy_router(method);
    const auto objective = [&](const torch::Tensor& logits_TE) {
      auto routing = router->route(logits_TE, context);
      auto value = (routing.dense(kTokens) * factor_TE).sum();
      for (const auto& loss : routing.losses) value = value + loss.value;
      return value;
    };
    auto logits_TE = random_logits().requires_grad_();
    objective(logits_TE).backward();
    const torch::NoGradGuard no_grad;
    for (int64_t i = 0; i < logits_TE.numel(); i += 7) {
      auto up = logits_TE.clone();
      auto down = logits_TE.clone();
      up.view(-1)[i] += 1e-6;
      down.view(-1)[i] -= 1e-6;
      const double slope = (objective(up) - objective(down)).item<double>() / 2e-6;
      EXPECT_NEAR(logits_TE.grad().view(-1)[i].item<double>(), slope, 2e-8);
    }
  }
}

TEST(Routers, EvaluationDrawsNoNoiseAndIgnoresTheUpdate) {
  const auto logits_TE = random_logits();
  const auto p = torch::softmax(logits_TE, 1);
  for (const auto& method : methods()) {
    RoutingContext context;
    context.schedule = kSoft;
    context.training = false;
    context.token_id_T = injected().token_id_T;
    const auto router = noisy_router(method);
    const auto first = router->route(logits_TE, context).dense(kTokens);
    context.noise.update = 99;
    EXPECT_TRUE(torch::equal(first, router->route(logits_TE, context).dense(kTokens))) << method;
    if (method == "switch" || method == "dts") {
      EXPECT_TRUE(torch::equal(first, p * chosen(p.argmax(1)))) << method;
    }
  }
  // Without noise the random and the sampled second expert are the runner-up.
  torch::Tensor all_TE;
  for (const auto* policy : {"all", "sampling", "random"}) {
    RouterOptions options;
    options.method = "gshard";
    options.get<GshardOptions>().second_expert_policy = policy;
    RoutingContext context;
    context.training = false;
    auto router = logits_router(options, kExperts, torch::kFloat64);
    const auto dense_TE = route_with_capacity(*router, logits_TE, context).dense(kTokens);
    if (!all_TE.defined()) all_TE = dense_TE;
    EXPECT_TRUE(torch::equal(dense_TE, all_TE)) << policy;
  }
}

TEST(Routers, TrainingNoiseIsAFunctionOfItsKey) {
  const auto logits_TE = random_logits();
  for (const auto* method : {"dts", "gshard", "switch"}) {
    SCOPED_TRACE(method);
    const auto router = noisy_router(method);
    RoutingContext context;
    context.schedule = kSoft;
    context.noise.sequence_length = kTokens / 2;
    const auto whole = router->route(logits_TE, context).dense(kTokens);
    EXPECT_TRUE(torch::equal(whole, router->route(logits_TE, context).dense(kTokens)));
    auto other_update = context;
    other_update.noise.update = 1;
    EXPECT_FALSE(torch::equal(whole, router->route(logits_TE, other_update).dense(kTokens)));
    // A micro-batch of the second sequence alone gets the numbers it had in the whole batch.
    auto second = context;
    second.noise.first_sequence = 1;
    const auto half_TD = logits_TE.slice(0, kTokens / 2);
    EXPECT_TRUE(torch::equal(whole.slice(0, kTokens / 2),
                             router->route(half_TD, second).dense(kTokens / 2)));
  }
}

TEST(Routers, JitterMovesTheInputOfSwitchsGateInTrainingAlone) {
  const auto logits_TE = random_logits();
  RouterOptions options;
  options.method = "switch";
  options.get<CapacityOptions>() = {.train_factor = 0, .eval_fraction = -1};
  const auto plain = logits_router(options, kExperts, torch::kFloat64);
  options.get<SwitchOptions>().jitter = 0.2;
  const auto jittered = logits_router(options, kExperts, torch::kFloat64);
  RoutingContext context;
  const auto moved = jittered->route(logits_TE, context).dense(kTokens);
  EXPECT_TRUE(torch::equal(moved, jittered->route(logits_TE, context).dense(kTokens)));
  EXPECT_FALSE(torch::allclose(moved, plain->route(logits_TE, context).dense(kTokens)));
  auto other_update = context;
  other_update.noise.update = 1;
  EXPECT_FALSE(torch::equal(moved, jittered->route(logits_TE, other_update).dense(kTokens)));
  context.training = false;
  EXPECT_TRUE(torch::equal(jittered->route(logits_TE, context).dense(kTokens),
                           plain->route(logits_TE, context).dense(kTokens)));
}

TEST(Routers, DenseToSparseGoesFromAllExpertsToOne) {
  const auto logits_TE = random_logits();
  RouterOptions options;
  options.method = "dts";
  options.get<DtsOptions>().normalize_weights = true;
  auto router = logits_router(options, kExperts, torch::kFloat64);
  const auto active = [&](double temperature, bool hard) {
    const RouterSchedule schedule = {.temperature = temperature, .hard = hard};
    const auto routing = router->route(logits_TE, injected(/*training=*/true, schedule));
    EXPECT_TRUE(
        torch::allclose(routing.dense(kTokens).sum(1), torch::ones({kTokens}, torch::kFloat64)));
    return routing.num_assignments();
  };
  EXPECT_EQ(active(-1, false), kTokens * kExperts);
  EXPECT_EQ(active(100, false), kTokens * kExperts);
  const int64_t middle = active(0.3, false);
  EXPECT_LT(middle, kTokens * kExperts);
  EXPECT_GT(middle, kTokens);
  EXPECT_LT(active(0.05, false), middle);
  EXPECT_EQ(active(0.3, true), kTokens);
}

TEST(Routers, NoiseScaleZeroMakesTheHardPhaseTakeTheArgmax) {
  const auto logits_TE = random_logits();
  auto context = injected();
  const auto router = noisy_router("dts");
  context.schedule = {.temperature = 0.5, .hard = true};
  const auto noisy = router->route(logits_TE, context);
  const auto differs_T = (logits_TE + context.gumbel_TE).argmax(1) != logits_TE.argmax(1);
  EXPECT_EQ(noisy.stats.non_argmax.item<int64_t>(), differs_T.sum().item<int64_t>());
  EXPECT_GT(noisy.stats.non_argmax.item<int64_t>(), 0);
  context.schedule.noise_scale = 0;
  const auto quiet = router->route(logits_TE, context);
  EXPECT_EQ(quiet.stats.non_argmax.item<int64_t>(), 0);
  EXPECT_TRUE(torch::equal(quiet.dense(kTokens) != 0, chosen(logits_TE.argmax(1))));
}

TEST(Routers, RowsThatAreNotValidMayStillBeRouted) {
  const auto logits_TE = random_logits();
  for (const auto& method : methods()) {
    SCOPED_TRACE(method);
    auto context = injected();
    const auto router = noisy_router(method);
    const auto all = router->route(logits_TE, context);
    context.valid_T = torch::arange(kTokens) % 3 != 1;
    context.routed_T = torch::ones({kTokens}, torch::kBool);
    const auto routed = router->route(logits_TE, context);
    EXPECT_TRUE(torch::equal(routed.dense(kTokens), all.dense(kTokens)));
    EXPECT_EQ(routed.stats.tokens, 32);
    const auto used_TE = (all.dense(kTokens) != 0).logical_and(context.valid_T.unsqueeze(1));
    EXPECT_TRUE(torch::equal(routed.stats.load_E, used_TE.sum(0)));
    EXPECT_EQ(routed.stats.active_E1.sum().item<int64_t>(), 32);
  }
}

TEST(Routers, DenseToSparseKeepsTheBestExpertAboveAnyThreshold) {
  const auto logits_TE = random_logits();
  auto context = injected();
  RouterOptions options;
  options.method = "dts";
  options.get<DtsOptions>().threshold = 0.9;  // far above 1/6
  const auto router = logits_router(options, kExperts, torch::kFloat64);
  context.schedule.temperature = 100;
  const auto flat = router->route(logits_TE, context);
  const auto best_T = (logits_TE + context.gumbel_TE).argmax(1);
  EXPECT_TRUE(torch::equal(flat.dense(kTokens) != 0, chosen(best_T)));
  EXPECT_EQ(flat.stats.active_E1[0].item<int64_t>(), 0);
  context.schedule.temperature = 0.3;
  EXPECT_EQ(router->route(logits_TE, context).num_assignments(), kTokens);
}

TEST(Routers, NormalisedDenseToSparseWeightsAreOneInHardPhaseAndEvaluation) {
  const auto logits_TE = random_logits();
  RouterOptions options;
  options.method = "dts";
  options.get<DtsOptions>().normalize_weights = true;
  const auto router = logits_router(options, kExperts, torch::kFloat64);
  for (const bool training : {true, false}) {
    const auto routing = router->route(logits_TE, injected(training, kHard));
    EXPECT_EQ(routing.num_assignments(), kTokens);
    EXPECT_TRUE(torch::equal(routing.weight_A, torch::ones_like(routing.weight_A)));
  }
}

TEST(Routers, ANoiseScaleOfZeroDrawsNoNoise) {
  const auto logits_TE = random_logits();
  for (const auto* method : {"dts", "switch"}) {
    const auto router = noisy_router(method);
    RoutingContext context;
    context.schedule = {.temperature = 0.3, .noise_scale = 0};
    // Noise of a wrong shape is an error where it is read.
    context.gumbel_TE = torch::zeros({1, 1});
    const auto value_TE = torch::softmax(logits_TE / 0.3, 1);
    const auto p = torch::softmax(logits_TE, 1);
    const auto routing = router->route(logits_TE, context);
    const auto expected_TE =
        std::string(method) == "dts" ? p * (value_TE > 0.001) : value_TE * chosen(p.argmax(1));
    EXPECT_TRUE(torch::allclose(routing.dense(kTokens), expected_TE, 1e-12, 1e-14)) << method;
  }
}

TEST(Routers, GshardDroplessNormalisesAsAfterDroppingWithRoomForAll) {
  const auto logits_TE = random_logits();
  for (const auto* policy : {"all", "random"}) {
    RouterOptions options;
    options.method = "gshard";
    options.get<GshardOptions>().second_expert_policy = policy;
    options.get<CapacityOptions>().eval_fraction = 1.0;  // room for every token
    auto roomy = logits_router(options, kExperts, torch::kFloat64);
    auto context = injected(/*training=*/false);
    const auto expected = route_with_capacity(*roomy, logits_TE, context).dense(kTokens);
    options.get<CapacityOptions>().train_factor = 0;
    auto dropless = logits_router(options, kExperts, torch::kFloat64);
    EXPECT_FALSE(dropless->capacity(kTokens, false).has_value());
    EXPECT_TRUE(torch::allclose(route_with_capacity(*dropless, logits_TE, context).dense(kTokens),
                                expected, 1e-12, 1e-14));
  }
}

TEST(Routers, EqualLogitsGoToTheLowestExperts) {
  RouterOptions options;
  options.method = "topk";
  options.get<TopkOptions>().k = 3;
  auto router = logits_router(options, kExperts);
  const auto routing = router->route(torch::zeros({5, kExperts}), RoutingContext{});
  EXPECT_TRUE(torch::equal(routing.stats.load_E, torch::tensor({5, 5, 5, 0, 0, 0}, torch::kInt64)));
}

TEST(Routers, NoTokensAndOnlyPaddingAreNormal) {
  for (const auto& method : methods()) {
    SCOPED_TRACE(method);
    const auto router = noisy_router(method);
    RoutingContext context;
    context.schedule = kSoft;
    context.valid_T = torch::zeros({kTokens}, torch::kBool);
    context.token_id_T = injected().token_id_T;
    auto routing = router->route(random_logits(), context);
    EXPECT_EQ(routing.stats.tokens, 0);
    EXPECT_EQ(routing.stats.load_E.sum().item<int64_t>(), 0);
    for (const auto& loss : routing.losses) {
      EXPECT_TRUE(torch::isfinite(loss.value).item<bool>()) << loss.name;
    }
    RoutingContext empty;
    empty.token_id_T = torch::zeros({0}, torch::kInt64);
    routing = router->route(torch::zeros({0, kExperts}, torch::kFloat64), empty);
    EXPECT_EQ(routing.num_assignments(), 0);
    for (const auto& loss : routing.losses) {
      EXPECT_TRUE(torch::isfinite(loss.value).item<bool>()) << loss.name;
    }
  }
}

TEST(Routers, CapacityFollowsTheReferenceFormulas) {
  RouterOptions options;
  options.get<CapacityOptions>().train_factor = 0.5;
  options.get<CapacityOptions>().eval_fraction = 0.25;
  const auto capacity = [&](const std::string& method, bool training) {
    options.method = method;
    auto given = options;
    // The others refuse a training factor that they do not heed.
    if (method != "switch" && method != "topk" && given.get<CapacityOptions>().train_factor > 0)
      given.get<CapacityOptions>().train_factor = 1;
    return logits_router(given, 4)->capacity(12, training);
  };
  EXPECT_EQ(capacity("switch", true), 1);   // int(0.5 * 3)
  EXPECT_EQ(capacity("switch", false), 3);  // ceil(0.25 * 12)
  EXPECT_EQ(capacity("gshard", true), 6);
  EXPECT_EQ(capacity("topk", true), 3);  // ceil(0.5 * 2 * 12 / 4)
  EXPECT_EQ(capacity("dts", true), std::nullopt);
  EXPECT_EQ(capacity("dts", false), 3);
  EXPECT_EQ(capacity("dense", false), std::nullopt);
  options.get<CapacityOptions>().eval_fraction = -1;
  EXPECT_EQ(capacity("switch", false), 1);
  EXPECT_EQ(capacity("gshard", false), 6);
  EXPECT_EQ(capacity("dts", false), std::nullopt);
  options.get<CapacityOptions>().eval_fraction = 0.25;
  options.get<CapacityOptions>().train_factor = 0;
  for (const auto& method : methods()) {
    EXPECT_EQ(capacity(method, true), std::nullopt) << method;
  }
  EXPECT_EQ(capacity("topk", false), std::nullopt);
}

TEST(Routers, TheGateIsOneParameterNamedWgWeight) {
  for (const auto& method : methods()) {
    if (is_one_of(method, {"longcat", "moepp", "stablemoe"})) continue;  // these have more
    RouterOptions options;
    options.method = method;
    options.model_dim = 10;
    options.num_experts = 4;
    const auto router = make_router(options);
    const auto parameters = router->named_parameters();
    ASSERT_EQ(parameters.size(), 1);
    EXPECT_EQ(parameters[0].key(), "wg.weight");
    EXPECT_EQ(parameters[0].value().sizes(), (std::vector<int64_t>{4, 10}));
    EXPECT_TRUE(router->gate_weight().is_same(parameters["wg.weight"]));
  }
}

TEST(Routers, ComputeWithTheTensorsThatTheyAreGiven) {
  for (const auto& method : methods()) {
    SCOPED_TRACE(method);
    RouterOptions options;
    options.method = method;
    options.model_dim = 8;
    options.num_experts = 4;
    options.vocab_size = 12;
    // With these there is another buffer.
    if (method == "dts") options.get<DtsOptions>().target_k = 2;
    if (method == "sigmoid") options.get<SigmoidOptions>().bias_rule = "smebu";
    const auto made = [&](uint64_t seed) {
      auto router = make_router(options);
      const torch::NoGradGuard no_grad;
      router->initialise(seed, /*layer=*/0);
      return router;
    };
    const auto source = made(1), user = made(2);
    torch::manual_seed(3);
    const auto x_TD = torch::randn({12, 8});
    RoutingContext context;
    context.token_id_T = torch::arange(12);
    context.noise.seed = 5;
    const auto routed = [&](Router& router) {
      const auto routing = router.route(x_TD, context);
      auto sum = routing.dense(12).square().sum();
      for (const auto& loss : routing.losses) sum = sum + loss.value;
      return std::pair(routing, sum);
    };

    // No leaves: what a parametrization gives.
    const auto first = source->named_parameters(), own = user->named_parameters();
    std::map<std::string, torch::Tensor> leaf;
    for (const auto& item : first) {
      leaf[item.key()] = item.value().detach().clone().requires_grad_();
      user->use_tensor(item.key(), leaf[item.key()] * 1);
    }
    std::map<std::string, torch::Tensor> buffer;
    for (const auto& item : source->named_buffers()) {
      buffer[item.key()] = item.value().clone();
      user->use_tensor(item.key(), buffer[item.key()]);
    }
    const auto [expected, expected_sum] = routed(*source);
    const auto [found, sum] = routed(*user);
    EXPECT_TRUE(torch::equal(found.dense(12), expected.dense(12)));
    if (expected_sum.requires_grad()) {
      expected_sum.backward();
      sum.backward();
    }
    for (const auto& item : first) {
      EXPECT_FALSE(own[item.key()].grad().defined()) << item.key();
      const auto wanted = item.value().grad(), given = leaf[item.key()].grad();
      if (wanted.defined()) {
        EXPECT_TRUE(given.defined() && torch::equal(given, wanted)) << item.key();
      }
    }
    // What moves after an update is what was given.
    auto stats = expected.stats;
    if (source->watches_outputs()) stats.output_sum_ED1 = torch::ones({4, 9}, torch::kFloat64);
    source->end_update(stats, {{0, stats}});
    user->end_update(stats, {{0, stats}});
    for (const auto& item : source->named_buffers())
      EXPECT_TRUE(torch::equal(buffer[item.key()], item.value())) << item.key();

    EXPECT_THAT(
        [&] { user->use_tensor("wg.bias", x_TD); },
        ::testing::ThrowsMessage<Error>(::testing::HasSubstr("no parameter or buffer `wg.bias`")));
    EXPECT_THAT(
        [&] { user->use_tensor("wg.weight", x_TD); },
        ::testing::ThrowsMessage<Error>(::testing::HasSubstr("must have the shape [4, 8]")));
  }
}

TEST(Routers, LowerPrecisionInputsAreRoutedInFloat32) {
  RouterOptions options;
  options.model_dim = 8;
  options.num_experts = 4;
  const auto router = make_router(options);
  const auto routing = router->route(torch::randn({5, 8}).to(torch::kBFloat16), RoutingContext{});
  EXPECT_EQ(routing.weight_A.scalar_type(), torch::kFloat32);
}

}  // namespace
}  // namespace evomoe
