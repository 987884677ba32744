#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/registry.h"

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;

RouterOptions good(const std::string& method = "switch") {
  RouterOptions options;
  options.method = method;
  options.model_dim = 8;
  options.num_experts = 4;
  return options;
}

void expect_refused(const RouterOptions& options, const std::string& name,
                    const std::string& value) {
  EXPECT_THAT([&] { make_router(options); },
              ThrowsMessage<UsageError>(AllOf(HasSubstr(name), HasSubstr(value))));
}

TEST(RouterOptions, OutOfRangeValuesAreRefusedWithFlagAndValue) {
  auto options = good();
  options.num_experts = 0;
  expect_refused(options, "--moe-expert-count", "0");
  options = good();
  options.model_dim = -3;
  expect_refused(options, "model dimension", "-3");
  for (const double threshold : {1.0, -0.1, std::nan("")}) {
    options = good("dts");
    options.threshold = threshold;
    expect_refused(options, "--dts-threshold", "0 <= threshold < 1");
  }
  options = good();
  options.train_capacity_factor = std::nan("");
  expect_refused(options, "--moe-train-capacity-token-fraction", "nan");
  options = good();
  options.eval_capacity_fraction = 1.5;
  expect_refused(options, "--moe-eval-capacity-token-fraction", "1.5");
  options = good();
  options.z_loss_weight = -1;
  expect_refused(options, "--moe-z-loss-wt", "-1");
  options = good();
  options.drop_policy = "first";
  expect_refused(options, "first", "position");
  options = good("gshard");
  options.second_expert_policy = "none";
  expect_refused(options, "--moe-second-expert-policy", "none");
  options = good("gshard");
  options.num_experts = 1;
  expect_refused(options, "--moe-expert-count 1", "at least 2");
  for (const int64_t k : {0, 5}) {
    options = good("topk");
    options.k = k;
    expect_refused(options, "--moe-k", "1 to 4");
  }
}

/// An option that is given, and who heeds it.
struct Given {
  std::function<void(RouterOptions&)> set;
  std::string flag;
  std::set<std::string> heeded_by;
};

const std::vector<std::string> kMethods = {"dense", "dts", "gshard", "switch", "topk"};

RouterOptions with(const Given& option, const std::string& method) {
  auto options = good(method);
  option.set(options);
  return options;
}

TEST(RouterOptions, OurOwnThatAMethodDoesNotHeedAreRefusedWithFlagMethodAndRemedy) {
  const std::vector<Given> options = {
      {[](auto& o) { o.k = 3; }, "--moe-k 3", {"topk"}},
      {[](auto& o) { o.normalize_topk = false; }, "--moe-no-normalize-topk", {"topk"}},
      {[](auto& o) { o.drop_policy = "probs"; },
       "--moe-drop-policy probs",
       {"switch", "topk", "gshard", "dts"}},
      {[](auto& o) { o.threshold = 0.5; }, "--dts-threshold 0.5", {"dts"}},
      {[](auto& o) { o.normalize_dts = true; }, "--dts-normalize-weights", {"dts"}},
  };
  for (const auto& option : options) {
    for (const auto& method : kMethods) {
      SCOPED_TRACE(option.flag + " " + method);
      if (option.heeded_by.contains(method)) {
        EXPECT_THAT(make_router(with(option, method))->unheeded_flags(), IsEmpty());
        continue;
      }
      EXPECT_THAT([&] { make_router(with(option, method)); },
                  ThrowsMessage<UsageError>(AllOf(HasSubstr(option.flag),
                                                  HasSubstr("--moe-router " + method),
                                                  HasSubstr("leave it out"))));
    }
  }
}

TEST(RouterOptions, TheReferencesThatAMethodDoesNotHeedAreNamedAndChangeNothing) {
  const std::vector<Given> options = {
      {[](auto& o) { o.train_capacity_factor = 1.5; },
       "--moe-train-capacity-token-fraction 1.5",
       {"switch", "topk"}},
      {[](auto& o) { o.eval_capacity_fraction = 0.5; },
       "--moe-eval-capacity-token-fraction 0.5",
       {"switch", "topk", "gshard", "dts"}},
      {[](auto& o) { o.second_expert_policy = "all"; },
       "--moe-second-expert-policy all",
       {"gshard"}},
      {[](auto& o) { o.normalize_before_dropping = true; },
       "--moe-normalize-gate-prob-before-dropping",
       {"gshard"}},
      {[](auto& o) { o.batch_prioritized = true; }, "--moe-batch-prioritized-routing", {"gshard"}},
      {[](auto& o) { o.gumbel_softmax = true; }, "--use-gumbel-softmax", {"dts"}},
      {[](auto& o) { o.gumbel_gates = true; }, "--use-gumbel-gates", {}},
      // Dropless, what every method can be.
      {[](auto& o) { o.train_capacity_factor = 0, o.eval_capacity_fraction = -1; },
       "",
       {kMethods.begin(), kMethods.end()}},
  };
  const auto x_TD = torch::randn({10, 8}), gumbel_TE = torch::randn({10, 4});
  for (const auto& option : options) {
    for (const auto& method : kMethods) {
      SCOPED_TRACE(option.flag + " " + method);
      const auto router = make_router(with(option, method));
      if (option.heeded_by.contains(method)) {
        EXPECT_THAT(router->unheeded_flags(), IsEmpty());
        continue;
      }
      EXPECT_THAT(router->unheeded_flags(), ElementsAre(StartsWith(option.flag)));
      // As without it, also in the updates' schedule that it would turn on.
      const auto plain = make_router(good(method));
      const torch::NoGradGuard no_grad;
      plain->gate_weight().copy_(router->gate_weight());
      if (router->options().gumbel_softmax) router->begin_update({.temperature = 2});
      RoutingContext context;
      context.gumbel_TE = context.second_gumbel_TE = gumbel_TE;
      const auto routing = router->route(x_TD, context), expected = plain->route(x_TD, context);
      EXPECT_TRUE(torch::equal(routing.token_A, expected.token_A));
      EXPECT_TRUE(torch::equal(routing.weight_A, expected.weight_A));
      EXPECT_TRUE(torch::equal(routing.offset_E1, expected.offset_E1));
      for (const bool training : {true, false}) {
        EXPECT_EQ(router->capacity(10, training), plain->capacity(10, training));
      }
    }
  }
}

TEST(RouterOptions, EachOfTheTwoGumbelFlagsOfSwitchNeedsTheOther) {
  auto options = good("switch");
  options.gumbel_softmax = true;
  EXPECT_THAT(make_router(options)->unheeded_flags(),
              ElementsAre("--use-gumbel-softmax without --use-gumbel-gates"));
  options.gumbel_gates = true;
  EXPECT_THAT(make_router(options)->unheeded_flags(), IsEmpty());
  options.gumbel_softmax = false;
  EXPECT_THAT(make_router(options)->unheeded_flags(),
              ElementsAre("--use-gumbel-gates without --use-gumbel-softmax"));
  options.method = "gshard";
  options.gumbel_softmax = true;
  EXPECT_THAT(make_router(options)->unheeded_flags(),
              ElementsAre("--use-gumbel-softmax", "--use-gumbel-gates"));
}

TEST(Registry, UnknownMethodsListTheKnownOnesAndTheNearest) {
  EXPECT_THAT(
      [] { make_router(good("swich")); },
      ThrowsMessage<UsageError>(AllOf(HasSubstr("dense, dts, gshard"), HasSubstr("switch, topk"),
                                      HasSubstr("did you mean switch?"))));
  EXPECT_THAT(
      [] { make_router(good("roulette")); },
      ThrowsMessage<UsageError>(AllOf(HasSubstr("--moe-router roulette"),
                                      HasSubstr("dense, dts, gshard"), HasSubstr("switch, topk"))));
}

TEST(Router, WrongInputsAreNamed) {
  const auto router = make_router(good());
  EXPECT_THAT(
      [&] {
        router->route(torch::rand({5, 7}), {});
      },
      ThrowsMessage<Error>(AllOf(HasSubstr("8 features"), HasSubstr("[5, 7]"))));
  RoutingContext context;
  context.valid_T = torch::ones({4}, torch::kBool);
  EXPECT_THAT(
      [&] {
        router->route(torch::rand({5, 8}), context);
      },
      ThrowsMessage<Error>(HasSubstr("valid_T")));
  auto dts = make_router(good("dts"));
  RouterSchedule schedule;
  schedule.temperature = 1;
  dts->begin_update(schedule);
  context = {};
  context.gumbel_TE = torch::zeros({5, 3});
  EXPECT_THAT(
      [&] {
        dts->route(torch::rand({5, 8}), context);
      },
      ThrowsMessage<Error>(HasSubstr("[5, 3]")));
}

TEST(BalanceLoss, IsOneForBalancedTopOneAndEForOneExpert) {
  const auto balanced = balance_loss(torch::eye(4), torch::ones({4}, torch::kInt64), 4);
  EXPECT_FLOAT_EQ(balanced.value.item<float>(), 1);
  const auto gate_TE = torch::tensor({1.F, 0.F, 0.F, 0.F}).expand({4, 4});
  const auto collapsed = balance_loss(gate_TE, torch::tensor({4, 0, 0, 0}, torch::kInt64), 4);
  EXPECT_FLOAT_EQ(collapsed.value.item<float>(), 4);
}

}  // namespace
}  // namespace evomoe
