// The authors' gates, run on 64 x 8 and 100 x 16 logits: tests/golden/routing/t*.safetensors.
#include <gtest/gtest.h>

#include <functional>

#include "tests/routing/golden_case.h"

namespace evomoe {
namespace {

using testing::deviation;

constexpr double kTolerance = 1e-6;

/// Runs `check` on every file whose gate has this name; returns how many there were.
int for_each_case(const std::string& gate,
                  const std::function<double(const testing::GoldenFile&)>& check) {
  int cases = 0;
  double largest = 0;
  for (const auto& entry : std::filesystem::directory_iterator(testing::golden_dir() / "routing")) {
    const auto name = entry.path().filename().string();
    if (name[0] != 't') continue;  // b2s24_*: whole layers, tested in the room moe
    const auto file = testing::read_golden(entry.path());
    if (file.metadata["gate"] != gate) continue;
    SCOPED_TRACE(name);
    largest = std::max(largest, check(file));
    ++cases;
  }
  std::printf("%s: %d cases, largest deviation %.2g\n", gate.c_str(), cases, largest);
  return cases;
}

bool is_true(const testing::GoldenFile& file, const std::string& key) {
  return file.metadata.value(key, "false") == "true";
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
  for (const auto& [name, value] :
       nlohmann::json::parse(file.metadata["metrics"].get<std::string>()).items()) {
    const double expected = value.get<double>();
    const double error = std::abs(testing::metric_named(routing, name) - expected) /
                         std::max(1.0, std::abs(expected));
    EXPECT_LE(error, kTolerance) << name;
    largest = std::max(largest, error);
  }
  return largest;
}

/// Weights, slots, balance loss and metrics of a gate with capacity.
double check_case(const testing::GoldenFile& file, const RouterOptions& options,
                  const RoutingContext& context) {
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

TEST(RoutingGolden, SwitchMatchesTheAuthorsTop1Gate) {
  EXPECT_EQ(for_each_case("switch_top1",
                          [](const testing::GoldenFile& file) {
                            RouterOptions options;
                            options.method = "switch";
                            options.train_capacity_factor =
                                std::stod(file.metadata["capacity_factor"].get<std::string>());
                            return check_case(file, options, context_of(file));
                          }),
            24);
}

TEST(RoutingGolden, GshardMatchesTheAuthorsTop2Gate) {
  EXPECT_EQ(for_each_case("gshard_top2",
                          [](const testing::GoldenFile& file) {
                            RouterOptions options;
                            options.method = "gshard";
                            options.second_expert_policy = file.metadata["second_expert_policy"];
                            options.normalize_before_dropping =
                                is_true(file, "normalize_before_dropping");
                            options.batch_prioritized = is_true(file, "batch_prioritized");
                            auto context = context_of(file);
                            context.second_gumbel_TE = file.get("gumbel");
                            return check_case(file, options, context);
                          }),
            96);
}

double check_dense_to_sparse(const testing::GoldenFile& file) {
  auto logits_TE = file.get("logits").clone().requires_grad_();
  const int64_t num_tokens = logits_TE.size(0);
  RouterOptions options;
  options.method = "dts";
  options.gumbel_gates = is_true(file, "use_gumbel_weights");
  if (file.metadata.contains("threshold")) {
    options.threshold = std::stod(file.metadata["threshold"].get<std::string>());
  }
  auto router = testing::logits_router(options, logits_TE.size(1));
  RouterSchedule schedule;
  schedule.temperature = std::stod(file.metadata["temperature"].get<std::string>());
  schedule.hard = file.metadata.contains("soft") && !is_true(file, "soft");
  router->begin_update(schedule);
  auto context = context_of(file);
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
    const double scale = options.gumbel_gates ? std::min(1.0, schedule.temperature) : 1.0;
    const double gradients = deviation(logits_TE.grad(), file.get("grad_logits"));
    EXPECT_LE(gradients * scale, kTolerance);
    return std::max(largest, gradients);
  }
  return largest;
}

TEST(RoutingGolden, DenseToSparseMatchesTheAuthorsGateWithItsGradients) {
  EXPECT_EQ(for_each_case("dense_to_sparse", check_dense_to_sparse), 42);
}

}  // namespace
}  // namespace evomoe
