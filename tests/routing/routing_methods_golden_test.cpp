// Other people's routing methods in float64: tests/golden/routing_methods.json, the cases of the
// methods that exist here.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "evomoe/routing/router_metrics.h"
#include "tests/routing/golden_case.h"

namespace evomoe {
namespace {

using nlohmann::json;
using testing::deviation;

// The file has nine significant digits.
constexpr double kMethodTolerance = 1e-8;

RouterOptions options_of(const json& entry) {
  RouterOptions options;
  const auto& params = entry["params"];
  const std::string method = entry["method"];
  if (method == "switch_top1") {
    options.method = "switch";
    options.get<CapacityOptions>().drop_policy = params["drop"] == "prob" ? "probs" : "position";
  } else if (method == "gshard_top2") {
    options.method = "gshard";
    options.get<GshardOptions>().normalize_before_dropping = params["normalize"] == "before";
    options.get<GshardOptions>().second_expert_policy = params["second"];
  } else {
    options.method = "topk";
    options.get<TopkOptions>().k = params["k"];
    options.get<TopkOptions>().no_normalize = !params["norm_topk_prob"].get<bool>();
    options.get<CapacityOptions>().train_factor = 0;
    options.z_loss_weight = 1;
  }
  return options;
}

double check_case(const json& input, const json& entry) {
  auto logits_TE = testing::json_matrix(input["logits"]).requires_grad_();
  const int64_t num_tokens = logits_TE.size(0);
  const auto options = options_of(entry);
  auto router = testing::logits_router(options, logits_TE.size(1), torch::kFloat64);
  RoutingContext context;
  context.training = true;
  if (options.get<GshardOptions>().second_expert_policy == "random") {
    context.uniform_T = testing::json_matrix(input["u"])[0];
  }
  if (entry["id"].get<std::string>().find("padded") != std::string::npos) {
    context.valid_T = testing::json_matrix(input["valid"]) > 0;
  }
  const auto& expect = entry["expect"];
  auto routing = router->route(logits_TE, context);
  if (expect["info"].contains(
          "capacity")) {  // the file rounds capacities otherwise than the reference
    routing = apply_capacity(routing, expect["info"]["capacity"],
                             options.get<CapacityOptions>().drop_policy);
  }
  const auto weight_TE = routing.dense(num_tokens);
  auto selected_TE = torch::zeros_like(weight_TE, torch::kBool);
  for (int64_t token = 0; token < num_tokens; ++token) {
    for (const int64_t expert : expect["selected"][token]) selected_TE[token][expert] = true;
  }
  EXPECT_TRUE(torch::equal(testing::dense_slots(routing, num_tokens) >= 0, selected_TE));
  double largest = deviation(weight_TE, testing::json_matrix(expect["weights"]));
  const auto gradient = [&](const torch::Tensor& value) {
    return torch::autograd::grad({value}, {logits_TE}, {}, /*retain_graph=*/true)[0];
  };
  largest =
      std::max(largest, deviation(gradient((weight_TE * testing::json_matrix(input["R"])).sum()),
                                  testing::json_matrix(expect["grad_weights"])));
  for (const auto& [name, ours] : {std::pair{"lb", "balance"}, std::pair{"z", "z"}}) {
    if (!expect["losses"].contains(name)) continue;
    const auto loss = testing::loss_named(routing, ours);
    largest = std::max(
        {largest,
         deviation(loss, torch::tensor(expect["losses"][name].get<double>(), torch::kFloat64)),
         deviation(gradient(loss), testing::json_matrix(expect["grad_losses"][name]))});
  }
  if (expect["info"].contains("dropped")) {
    EXPECT_EQ(routing.stats.dropped.item<int64_t>(), expect["info"]["dropped"]);
  }
  for (const auto* key : {"n", "n_pre"}) {
    if (!expect["info"].contains(key)) continue;
    EXPECT_EQ(deviation(routing.stats.load_E, testing::json_matrix(expect["info"][key])), 0);
  }
  EXPECT_LE(largest, kMethodTolerance);
  return largest;
}

TEST(RoutingMethodsGolden, SwitchGshardAndTopkMatchSelectionsWeightsLossesAndGradients) {
  const auto file = testing::read_json(testing::golden_dir() / "routing_methods.json");
  // Methods that do not exist here yet, and cases that other tests take.
  const std::set<std::string> elsewhere = {"base",
                                           "causality_probe",
                                           "default_moe",
                                           "densemixer",
                                           "drop_upcycling",
                                           "expert_choice",
                                           "hash",
                                           "load_balance_scope",
                                           "longcat",
                                           "metrics",
                                           "moepp",
                                           "quantile_dynamic",
                                           "quantile_topk",
                                           "relu",
                                           "sigmoid_bias",
                                           "sinkhorn",
                                           "sparsemixer1",
                                           "sparsemixer2",
                                           "stablemoe_stage1",
                                           "stablemoe_stage2",
                                           "state_updates",
                                           "top_p"};
  int cases = 0;
  double largest = 0;
  for (const auto& entry : file["cases"]) {
    const std::string method = entry["method"];
    SCOPED_TRACE(entry["id"].get<std::string>());
    if (elsewhere.contains(method)) continue;
    if (method != "switch_top1" && method != "gshard_top2" && method != "topk_softmax") {
      ADD_FAILURE() << "the method `" << method << "` is not known to this test";
      continue;
    }
    largest =
        std::max(largest, check_case(file["inputs"][entry["input"].get<std::string>()], entry));
    ++cases;
  }
  std::printf("routing_methods.json: %d cases, largest deviation %.2g\n", cases, largest);
  testing::expect_cases(cases, 37);
}

TEST(RoutingMethodsGolden, RouterMetricsMatchTheirDefinitions) {
  const auto file = testing::read_json(testing::golden_dir() / "routing_methods.json");
  for (const auto& entry : file["cases"]) {
    if (entry["method"] != "metrics") continue;
    RouterOptions options;
    options.method = "topk";
    options.get<TopkOptions>().k = entry["params"]["k"];
    const auto logits_TE =
        testing::json_matrix(file["inputs"][entry["input"].get<std::string>()]["logits"]);
    auto router = testing::logits_router(options, logits_TE.size(1), torch::kFloat64);
    const auto metrics = router_metrics(router->route(logits_TE, RoutingContext{}).stats);
    const auto& expect = entry["expect"];
    EXPECT_EQ(metrics.load_E, expect["load"].get<std::vector<int64_t>>());
    EXPECT_NEAR(metrics.max_violation, expect["max_vio"], 1e-8);
    EXPECT_NEAR(metrics.load_cv, expect["cv"], 1e-8);
    EXPECT_NEAR(metrics.token_entropy, expect["token_entropy"], 1e-8);
    EXPECT_NEAR(metrics.mean_active, expect["mean_active"], 1e-8);
    EXPECT_EQ(metrics.dead_experts, expect["dead"]);
    return;
  }
  FAIL() << "the golden file has no metrics case";
}

}  // namespace
}  // namespace evomoe
