#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/registry.h"

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
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

TEST(RouterOptions, OptionsOfAnotherMethodAreRefused) {
  auto options = good("topk");
  options.batch_prioritized = true;
  expect_refused(options, "--moe-batch-prioritized-routing", "topk");
  options = good("switch");
  options.normalize_before_dropping = true;
  expect_refused(options, "--moe-normalize-gate-prob-before-dropping", "switch");
  options = good("gshard");
  options.gumbel_gates = true;
  expect_refused(options, "--use-gumbel-gates", "gshard");
  options = good("dense");
  options.normalize_dts = true;
  expect_refused(options, "--dts-normalize-weights", "dense");
}

TEST(Registry, UnknownMethodsListTheKnownOnesAndTheNearest) {
  EXPECT_THAT([] { make_router(good("swich")); },
              ThrowsMessage<UsageError>(AllOf(HasSubstr("dense, dts, gshard, switch, topk"),
                                              HasSubstr("did you mean switch?"))));
}

/// Every token to expert (token mod E), a method of another program.
class RoundRobinRouter : public Router {
 public:
  explicit RoundRobinRouter(RouterOptions options) : Router(std::move(options)) {}
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override {
    const auto logits_TE = logits(x_TD);
    const auto probability_TE = torch::softmax(logits_TE, 1);
    const auto expert_T = torch::arange(x_TD.size(0)) % num_experts();
    auto routing = Routing::from_choices(expert_T, torch::ones({x_TD.size(0)}), num_experts());
    complete(routing, logits_TE, probability_TE,
             expert_T.unsqueeze(1) == torch::arange(num_experts()), context.valid_T);
    return routing;
  }
};

TEST(Registry, ANewMethodIsOneClassAndOneLine) {
  register_router("round_robin", [](const RouterOptions& options) {
    return std::make_shared<RoundRobinRouter>(options);
  });
  EXPECT_THAT(router_names(), ::testing::Contains("round_robin"));
  const auto routing = make_router(good("round_robin"))->route(torch::rand({8, 8}), {});
  EXPECT_TRUE(torch::equal(routing.stats.load_E, torch::full({4}, 2, torch::kInt64)));
  EXPECT_THAT([] { register_router("switch", make_router); },
              ThrowsMessage<Error>(HasSubstr("exists already")));
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
