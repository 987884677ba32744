// The second, independent set of the authors' gates with gradients: tests/golden/gates.json (12
// tokens, 4 experts).
#include <gtest/gtest.h>

#include "tests/routing/golden_case.h"

namespace evomoe {
namespace {

using nlohmann::json;
using testing::deviation;

struct Gate {
  RouterOptions options;
  RoutingContext context;
};

Gate gate_of(const json& file, const json& entry) {
  Gate gate;
  auto& options = gate.options;
  const std::string name = entry["gate"];
  // An unknown gate keeps its own name, which no router has.
  options.method = name == "top1"   ? "switch"
                   : name == "top2" ? "gshard"
                   : name == "topk" ? "dts"
                                    : name;
  options.get<CapacityOptions>().train_factor = entry.value("capacity_factor", 1.0);
  options.get<CapacityOptions>().eval_fraction = entry.value("eval_fraction", 0.25);
  options.get<GshardOptions>().second_expert_policy = entry.value("policy", "sampling");
  options.get<GshardOptions>().normalize_before_dropping = entry.value("normalize_before", false);
  options.get<GshardOptions>().batch_prioritized = entry.value("bpr", false);
  options.get<GumbelGateOptions>().use_gumbel_gates = entry.value("use_gumbel_gates", false);
  gate.context.schedule.temperature = entry.value("temperature", -1.0);
  gate.context.schedule.hard = !entry.value("soft", true);
  gate.context.training = entry["mode"] == "train";
  gate.context.gumbel_TE = testing::json_tensor(file["gumbel"]);
  gate.context.second_gumbel_TE = testing::json_tensor(file["gumbel_second"]);
  gate.context.uniform_T = testing::json_tensor(file["uniform"]);
  if (entry.value("masked", false)) {
    gate.context.valid_T = testing::json_tensor(file["pad_mask"]).logical_not();
  }
  return gate;
}

TEST(GatesGolden, AllGatesMatchSlotsWeightsLossesMetricsAndGradients) {
  const auto file = testing::read_json(testing::golden_dir() / "gates.json");
  const auto factor_TE = testing::json_tensor(file["R"]);
  const int64_t num_tokens = file["S"];
  const int64_t num_experts = file["E"];
  double largest = 0;
  double largest_half = 0;
  int cases = 0;
  for (const auto& entry : file["cases"]) {
    auto summary = entry;
    for (const auto* key : {"combine", "grad_logits", "metadata"}) summary.erase(key);
    SCOPED_TRACE(summary.dump());
    const auto gate = gate_of(file, entry);
    const bool half = entry.value("logits_dtype", "float32") == "float16";
    auto logits_TE =
        testing::json_tensor(file["logits"]).to(half ? torch::kFloat16 : torch::kFloat32);
    logits_TE.requires_grad_();
    auto router = testing::logits_router(gate.options, num_experts, logits_TE.scalar_type());
    const auto routing = testing::route_with_capacity(*router, logits_TE, gate.context);
    const auto capacity = router->capacity(num_tokens, gate.context.training);
    EXPECT_EQ(capacity.value_or(num_tokens), entry["capacity"]);
    EXPECT_EQ(routing.num_assignments(), entry["dispatched"]);
    EXPECT_EQ(routing.weight_A.scalar_type(), torch::kFloat32);

    auto expected_TE = torch::zeros({num_tokens, num_experts});
    auto slot_TE = torch::full({num_tokens, num_experts}, -1, torch::kInt64);
    for (const auto& assignment : entry["combine"]) {
      const int64_t token = assignment[0];
      const int64_t expert = assignment[1];
      // The dense-to-sparse gate of the reference puts token t into slot t of a buffer of all
      // tokens; ours has no slots.
      slot_TE[token][expert] = entry["gate"] == "topk" ? 0 : assignment[2].get<int64_t>();
      expected_TE[token][expert] = assignment[3].get<double>();
    }
    auto found_TE = testing::dense_slots(routing, num_tokens);
    if (entry["gate"] == "topk") found_TE = found_TE.clamp_max(0);
    EXPECT_TRUE(torch::equal(found_TE, slot_TE));

    const auto weight_TE = routing.dense(num_tokens);
    const auto balance = testing::loss_named(routing, "balance");
    ((weight_TE * factor_TE).sum() + 0.7 * balance).backward();
    double error =
        std::max({deviation(weight_TE, expected_TE),
                  deviation(balance, torch::tensor(entry["l_aux"][0].get<double>())),
                  deviation(logits_TE.grad(), testing::json_tensor(entry["grad_logits"]))});
    for (const auto& [name, value] : entry["metadata"].items()) {
      if (!value.is_number()) continue;
      error = std::max(error, std::abs(testing::metric_named(routing, name) - value.get<double>()) /
                                  std::max(1.0, std::abs(value.get<double>())));
    }
    // The reference rounds the combine weights and the gradient to float16 in that case.
    EXPECT_LE(error, half ? 1e-3 : 1e-6);
    auto& worst = half ? largest_half : largest;
    worst = std::max(worst, error);
    ++cases;
  }
  std::printf("gates.json: %d cases, largest deviation %.2g, in float16 %.2g\n", cases, largest,
              largest_half);
  testing::expect_cases(cases, 56);
}

}  // namespace
}  // namespace evomoe
