// The authors' gates, run on 64 x 8 and 100 x 16 logits: tests/golden/routing/t*.safetensors.
#include <gtest/gtest.h>

#include <map>

#include "tests/routing/golden_case.h"

namespace evomoe {
namespace {

using testing::deviation;

constexpr double kTolerance = 1e-6;

bool is_true(const testing::GoldenFile& file, const std::string& key) {
  return file.metadata.value(key, "false") == "true";
}

double number(const testing::GoldenFile& file, const std::string& key, double otherwise) {
  return file.metadata.contains(key) ? std::stod(file.metadata[key].get<std::string>()) : otherwise;
}

RoutingContext context_of(const testing::GoldenFile& file) {
  RoutingContext context;
  context.training = !is_true(file, "eval");
  context.uniform_T = file.get("uniform");
  if (file.get("padding_mask").defined()) context.valid_T = file.get("padding_mask").logical_not();
  return context;
}

double check_metrics(const testing::GoldenFile& file, const Routing& routing) {
  double largest = 0;
  const auto metrics = nlohmann::json::parse(file.metadata["metrics"].get<std::string>());
  for (const auto& [name, value] : metrics.items()) {
    const double expected = value.get<double>();
    const double error = std::abs(testing::metric_named(routing, name) - expected) /
                         std::max(1.0, std::abs(expected));
    EXPECT_LE(error, kTolerance) << name;
    largest = std::max(largest, error);
  }
  return largest;
}

/// Weights, slots, balance loss and metrics of a gate with capacity.
double check_case(const testing::GoldenFile& file, RouterOptions options,
                  const RoutingContext& context) {
  auto& capacity = options.get<CapacityOptions>();
  capacity.eval_fraction = number(file, "eval_fraction", capacity.eval_fraction);
  const auto logits_TE = file.get("logits");
  const int64_t num_tokens = logits_TE.size(0);
  auto router = testing::logits_router(options, logits_TE.size(1));
  EXPECT_EQ(router->capacity(num_tokens, context.training),
            std::stoll(file.metadata["capacity"].get<std::string>()));
  const auto routing = testing::route_with_capacity(*router, logits_TE, context);
  EXPECT_TRUE(torch::equal(testing::dense_slots(routing, num_tokens), file.get("slot")));
  const double weights = deviation(routing.dense(num_tokens), file.get("weight"));
  const double loss = deviation(testing::loss_named(routing, "balance"), file.get("l_aux")[0]);
  EXPECT_LE(weights, kTolerance);
  EXPECT_LE(loss, kTolerance);
  return std::max({weights, loss, check_metrics(file, routing)});
}

double check_switch(const testing::GoldenFile& file) {
  RouterOptions options;
  options.method = "switch";
  auto& capacity = options.get<CapacityOptions>();
  capacity.train_factor = number(file, "capacity_factor", capacity.train_factor);
  return check_case(file, options, context_of(file));
}

double check_gshard(const testing::GoldenFile& file) {
  RouterOptions options;
  options.method = "gshard";
  auto& gshard = options.get<GshardOptions>();
  gshard.second_expert_policy = file.metadata["second_expert_policy"];
  gshard.normalize_before_dropping = is_true(file, "normalize_before_dropping");
  gshard.batch_prioritized = is_true(file, "batch_prioritized");
  auto context = context_of(file);
  context.second_gumbel_TE = file.get("gumbel");
  return check_case(file, options, context);
}

double check_dense_to_sparse(const testing::GoldenFile& file) {
  auto logits_TE = file.get("logits").clone().requires_grad_();
  const int64_t num_tokens = logits_TE.size(0);
  RouterOptions options;
  options.method = "dts";
  const bool gumbel_gates = is_true(file, "use_gumbel_weights");
  options.get<GumbelGateOptions>().use_gumbel_gates = gumbel_gates;
  auto& dts = options.get<DtsOptions>();
  dts.threshold = number(file, "threshold", dts.threshold);
  auto router = testing::logits_router(options, logits_TE.size(1));
  auto context = context_of(file);
  auto& schedule = context.schedule;
  schedule.temperature = std::stod(file.metadata["temperature"].get<std::string>());
  schedule.hard = file.metadata.contains("soft") && !is_true(file, "soft");
  context.gumbel_TE = file.get("gumbel");
  EXPECT_FALSE(router->capacity(num_tokens, /*training=*/true).has_value());

  const auto routing = testing::route_with_capacity(*router, logits_TE, context);
  const auto weight_TE = routing.dense(num_tokens);
  const auto balance = testing::loss_named(routing, "balance");
  double largest =
      std::max({deviation(weight_TE, file.get("weight")), deviation(balance, file.get("l_aux")[0]),
                check_metrics(file, routing)});
  EXPECT_LE(largest, kTolerance);
  if (file.get("routed").defined()) {
    EXPECT_TRUE(torch::equal(testing::dense_slots(routing, num_tokens) >= 0, file.get("routed")));
  }
  if (file.get("grad_logits").defined()) {
    const double loss_weight = std::stod(file.metadata["aux_weight_in_grad"].get<std::string>());
    ((weight_TE * file.get("grad_weight")).sum() + loss_weight * balance).backward();
    // The Gumbel-softmax divides its gradient, and with it the rounding of its input, by the
    // temperature: both sides are that far from the float64 value.
    const double scale = gumbel_gates ? std::min(1.0, schedule.temperature) : 1.0;
    const double gradients = deviation(logits_TE.grad(), file.get("grad_logits"));
    EXPECT_LE(gradients * scale, kTolerance);
    return std::max(largest, gradients);
  }
  return largest;
}

TEST(RoutingGolden, EveryGateMatchesTheAuthorsWithItsSlotsLossesMetricsAndGradients) {
  const std::map<std::string, double (*)(const testing::GoldenFile&)> checks = {
      {"switch_top1", check_switch},
      {"gshard_top2", check_gshard},
      {"dense_to_sparse", check_dense_to_sparse}};
  std::map<std::string, int> cases;
  std::map<std::string, double> largest;
  for (const auto& entry : std::filesystem::directory_iterator(testing::golden_dir() / "routing")) {
    const auto name = entry.path().filename().string();
    if (name.find("_layer_") != std::string::npos) continue;  // tested in the room moe
    SCOPED_TRACE(name);
    const auto file = testing::read_golden(entry.path());
    const auto gate = file.metadata["gate"].get<std::string>();
    const auto check = checks.find(gate);
    if (check == checks.end()) {
      ADD_FAILURE() << "the gate `" << gate << "` is not known to this test";
      continue;
    }
    largest[gate] = std::max(largest[gate], check->second(file));
    ++cases[gate];
  }
  for (const auto& [gate, count] : cases)
    std::printf("%s: %d cases, largest deviation %.2g\n", gate.c_str(), count, largest[gate]);
  testing::expect_cases(cases["switch_top1"], 24);
  testing::expect_cases(cases["gshard_top2"], 96);
  testing::expect_cases(cases["dense_to_sparse"], 42);
}

}  // namespace
}  // namespace evomoe
