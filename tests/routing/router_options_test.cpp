#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/dts_router.h"
#include "evomoe/routing/expert_choice_router.h"
#include "evomoe/routing/gshard_router.h"
#include "evomoe/routing/hash_router.h"
#include "evomoe/routing/longcat_router.h"
#include "evomoe/routing/moepp_router.h"
#include "evomoe/routing/registry.h"
#include "evomoe/routing/sigmoid_router.h"
#include "evomoe/routing/topk_router.h"
#include "evomoe/routing/topp_router.h"

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
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
    options.get<DtsOptions>().threshold = threshold;
    expect_refused(options, "--dts-threshold", "0 <= threshold < 1");
  }
  options = good();
  options.get<CapacityOptions>().train_factor = std::nan("");
  expect_refused(options, "--moe-train-capacity-token-fraction", "nan");
  options = good();
  options.get<CapacityOptions>().eval_fraction = 1.5;
  expect_refused(options, "--moe-eval-capacity-token-fraction", "1.5");
  options = good();
  options.z_loss_weight = -1;
  expect_refused(options, "--moe-z-loss-wt", "-1");
  options = good();
  options.get<CapacityOptions>().drop_policy = "first";
  expect_refused(options, "first", "position");
  options = good("gshard");
  options.get<GshardOptions>().second_expert_policy = "none";
  expect_refused(options, "--moe-second-expert-policy", "none");
  options = good("gshard");
  options.num_experts = 1;
  expect_refused(options, "--moe-expert-count 1", "at least 2");
  for (const int64_t k : {0, 5}) {
    options = good("topk");
    options.get<TopkOptions>().k = k;
    expect_refused(options, "--moe-k", "1 to 4");
  }
}

TEST(RouterOptions, BadValuesOfOtherPeoplesMethodsAreRefusedWithFlagAndValue) {
  for (const auto* method :
       {"topk", "sigmoid", "sinkhorn", "relu", "quantile", "quantile-dynamic", "sparsemixer2"}) {
    SCOPED_TRACE(method);
    auto options = good(method);
    options.get<TopkOptions>().k = 5;
    expect_refused(options, "--moe-k 5", "1 to 4");
  }
  for (const auto* method : {"quantile", "quantile-dynamic"}) {
    auto options = good(method);
    options.get<TopkOptions>().k = 4;
    expect_refused(options, "--moe-k 4", "below --moe-expert-count 4");
  }
  auto options = good("sparsemixer2");
  options.get<TopkOptions>().k = 3;
  expect_refused(options, "--moe-k 3", "1 and 2");
  options = good("moepp");
  options.get<TopkOptions>().k = 9;  // 4 experts and 4 free ones
  expect_refused(options, "--moe-k 9", "1 to 8");
  options = good("moepp");
  options.get<MoeppOptions>() = {.constant_experts = 0, .copy_experts = 0, .null_experts = 0};
  expect_refused(options, "--moepp-null-experts 0", "at least 1");
  options = good("longcat");
  options.get<LongcatOptions>().copy_experts = 0;
  expect_refused(options, "--longcat-copy-experts 0", "at least 1");
  options = good("longcat");
  options.get<LongcatOptions>().target_k = 2.5;
  expect_refused(options, "--longcat-target-k 2.5", "--moe-k 2");
  options = good("base");
  options.num_experts = 1;
  expect_refused(options, "--moe-expert-count 1", "at least 2");
  for (const double factor : {0.0, 4.5, std::nan("")}) {
    options = good("expert-choice");
    options.get<ExpertChoiceOptions>().factor = factor;
    expect_refused(options, "--expert-choice-factor", "at most 4");
  }
  for (const double target : {0.5, 4.5, -1.0, std::nan("")}) {
    options = good("topp");
    options.get<ToppOptions>().target_k = target;
    expect_refused(options, "--topp-target-k", "1 to 4");
    options = good("dts");
    options.get<DtsOptions>().target_k = target;
    expect_refused(options, "--dts-target-k", "to 4");
  }
}

TEST(RouterOptions, OptionsThatContradictEachOtherAreRefused) {
  auto options = good("sigmoid");
  options.get<SigmoidOptions>() = {.groups = 2};
  expect_refused(options, "--sigmoid-groups 2", "give both");
  options.get<SigmoidOptions>() = {.groups = 2, .top_groups = 3};
  expect_refused(options, "--sigmoid-top-groups 3", "1 to 2");
  options.get<SigmoidOptions>() = {.groups = 3, .top_groups = 1};
  expect_refused(options, "--sigmoid-groups 3", "does not divide --moe-expert-count 4");
  options.get<SigmoidOptions>() = {.groups = 4, .top_groups = 1};
  expect_refused(options, "--moe-k 2", "have 1 experts only");
  options = good("hash");
  options.get<HashOptions>().kind = "balanced";
  expect_refused(options, "--hash-kind balanced", "--hash-counts");
  options.get<HashOptions>() = {.counts = "dict.txt"};
  expect_refused(options, "--hash-counts dict.txt", "--hash-kind balanced");
  options = good("dts");
  options.get<DtsOptions>() = {.threshold = 0.1, .threshold_share = 0.5};
  expect_refused(options, "--dts-threshold 0.1", "--dts-threshold-share 0.5");
  options.get<DtsOptions>() = {.threshold_share = 4};
  expect_refused(options, "--dts-threshold-share 4", "less than 4");
  options.get<DtsOptions>() = {.final_k = 5};
  expect_refused(options, "--dts-final-k 5", "1 to 4");
  options.get<DtsOptions>() = {.target_k = 1.5, .final_k = 2};
  expect_refused(options, "--dts-target-k 1.5", "2 (--dts-final-k)");
  options.get<DtsOptions>() = {.normalize_weights = true, .scale_weights = true};
  expect_refused(options, "--dts-normalize-weights", "--dts-scale-weights");
}

TEST(RouterOptions, ExpertChoiceAloneSeesTheFuture) {
  for (const auto& method : router_names()) {
    if (method == "word") continue;  // of another test
    EXPECT_EQ(make_router(good(method))->sees_future().empty(), method != "expert-choice")
        << method;
  }
}

/// An option that is given, and who uses it.
struct Given {
  std::function<void(RouterOptions&)> set;
  std::string flag;
  std::set<std::string> used_by;
};

const std::vector<std::string> kMethods = {"dense", "dts", "gshard", "switch", "topk"};

RouterOptions with(const Given& option, const std::string& method) {
  auto options = good(method);
  option.set(options);
  return options;
}

std::set<std::string> without_effect(const RouterOptions& options) {
  return options_without_effect(options, *make_router(options));
}

TEST(RouterOptions, OurOwnThatAMethodDoesNotUseAreRefusedWithFlagMethodAndRemedy) {
  const std::vector<Given> options = {
      {[](RouterOptions& o) { o.get<TopkOptions>().k = 3; }, "--moe-k 3", {"topk"}},
      {[](RouterOptions& o) { o.get<TopkOptions>().no_normalize = true; },
       "--moe-no-normalize-topk",
       {"topk"}},
      {[](RouterOptions& o) { o.get<CapacityOptions>().drop_policy = "probs"; },
       "--moe-drop-policy probs",
       {"switch", "topk", "gshard", "dts"}},
      {[](RouterOptions& o) { o.get<DtsOptions>().threshold = 0.5; },
       "--dts-threshold 0.5",
       {"dts"}},
      {[](RouterOptions& o) { o.get<DtsOptions>().normalize_weights = true; },
       "--dts-normalize-weights",
       {"dts"}},
  };
  for (const auto& option : options) {
    for (const auto& method : kMethods) {
      SCOPED_TRACE(option.flag + " " + method);
      if (option.used_by.contains(method)) {
        EXPECT_THAT(without_effect(with(option, method)), IsEmpty());
        continue;
      }
      EXPECT_THAT([&] { make_router(with(option, method)); },
                  ThrowsMessage<UsageError>(AllOf(HasSubstr(option.flag),
                                                  HasSubstr("--moe-router " + method),
                                                  HasSubstr("leave it out"))));
    }
  }
}

TEST(RouterOptions, TheReferencesThatAMethodDoesNotUseAreNamedAndChangeNothing) {
  const std::vector<Given> options = {
      {[](RouterOptions& o) { o.get<CapacityOptions>().train_factor = 1.5; },
       "moe-train-capacity-token-fraction",
       {"switch", "topk"}},
      {[](RouterOptions& o) { o.get<CapacityOptions>().eval_fraction = 0.5; },
       "moe-eval-capacity-token-fraction",
       {"switch", "topk", "gshard", "dts"}},
      {[](RouterOptions& o) { o.get<GshardOptions>().second_expert_policy = "all"; },
       "moe-second-expert-policy",
       {"gshard"}},
      {[](RouterOptions& o) { o.get<GshardOptions>().normalize_before_dropping = true; },
       "moe-normalize-gate-prob-before-dropping",
       {"gshard"}},
      {[](RouterOptions& o) { o.get<GshardOptions>().batch_prioritized = true; },
       "moe-batch-prioritized-routing",
       {"gshard"}},
      {[](RouterOptions& o) { o.get<GumbelGateOptions>().use_gumbel_gates = true; },
       "use-gumbel-gates",
       {"dts", "switch"}},
      // Dropless, what every method can be.
      {[](RouterOptions& o) {
         o.get<CapacityOptions>() = {.train_factor = 0, .eval_fraction = -1};
       },
       "",
       {kMethods.begin(), kMethods.end()}},
  };
  const auto x_TD = torch::randn({10, 8}), gumbel_TE = torch::randn({10, 4});
  for (const auto& option : options) {
    for (const auto& method : kMethods) {
      SCOPED_TRACE(option.flag + " " + method);
      if (option.used_by.contains(method)) {
        EXPECT_THAT(without_effect(with(option, method)), IsEmpty());
        continue;
      }
      EXPECT_THAT(without_effect(with(option, method)), ElementsAre(option.flag));
      // As without it.
      const auto router = make_router(with(option, method));
      const auto plain = make_router(good(method));
      const torch::NoGradGuard no_grad;
      plain->gate_weight().copy_(router->gate_weight());
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

TEST(RouterOptions, AScheduleIsFollowedByTheGumbelMethodsAlone) {
  for (const auto& method : kMethods) {
    EXPECT_EQ(make_router(good(method))->follows_schedule(), method == "dts") << method;
  }
  auto options = good("switch");
  options.get<GumbelGateOptions>().use_gumbel_gates = true;
  EXPECT_TRUE(make_router(options)->follows_schedule());
}

TEST(OptionSet, ACopyHasItsOwnValuesAndAssigningKeepsTheirAddresses) {
  OptionSet set;
  auto& topk = set.get<TopkOptions>();
  topk.k = 3;
  OptionSet copy = set;
  copy.get<TopkOptions>().k = 4;
  copy.get<DtsOptions>().threshold = 0.5;
  EXPECT_EQ(topk.k, 3);
  set = copy;
  EXPECT_EQ(&set.get<TopkOptions>(), &topk);
  EXPECT_EQ(topk.k, 4);
  EXPECT_EQ(set.get<DtsOptions>().threshold, 0.5);
  set = OptionSet();
  EXPECT_EQ(topk.k, 2) << "the default";
  const OptionSet empty;
  EXPECT_EQ(empty.get<TopkOptions>().k, 2);
}

TEST(OptionSet, EachOptionIsInTheTableOnceAndFillsTheSet) {
  OptionSet set;
  OptionTable table("x", "");
  describe_router_options(table, set);  // a name that is described twice is an Error
  table.parse({"--moe-k", "5", "--dts-threshold", "0.25", "--moe-drop-policy", "probs"});
  EXPECT_EQ(set.get<TopkOptions>().k, 5);
  EXPECT_EQ(set.get<DtsOptions>().threshold, 0.25);
  EXPECT_EQ(set.get<CapacityOptions>().drop_policy, "probs");
}

TEST(Registry, UnknownMethodsListTheKnownOnesAndTheNearest) {
  EXPECT_THAT([] { make_router(good("swich")); },
              ThrowsMessage<UsageError>(
                  AllOf(HasSubstr("base, default-moe, dense, densemixer, dts"),
                        HasSubstr("switch, topk"), HasSubstr("did you mean switch?"))));
  EXPECT_THAT(
      [] { make_router(good("roulette")); },
      ThrowsMessage<UsageError>(AllOf(HasSubstr("--moe-router roulette"),
                                      HasSubstr("base, default-moe, dense, densemixer, dts"),
                                      HasSubstr("switch, topk"))));
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
  context = {};
  context.schedule.temperature = 1;
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
