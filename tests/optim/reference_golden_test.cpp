// The authors' optimiser and schedules, recorded in tests/golden/data.json.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "evomoe/optim/adam.h"
#include "evomoe/optim/lr_schedule.h"
#include "evomoe/optim/optimizer.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

const nlohmann::json& golden() {
  static const auto json = testing::read_json(testing::golden_dir() / "data.json");
  return json;
}

TEST(AdamGolden, FiveStepsEqualTheReference) {
  const auto& expected = golden().at("adam");
  const auto tensor = [](const nlohmann::json& values) {
    return torch::tensor(values.get<std::vector<float>>());
  };
  auto p = tensor(expected.at("p0")).requires_grad_();
  Optimizer adam(
      {{"p", p}},
      std::make_unique<Adam>(AdamOptions{.betas = expected.at("betas").get<std::vector<double>>(),
                                         .eps = expected.at("eps").get<double>()}),
      {.weight_decay = expected.at("weight_decay").get<double>()});
  double deviation = 0;
  for (size_t t = 0; t < expected.at("grads").size(); ++t) {
    p.mutable_grad() = tensor(expected.at("grads")[t]);
    adam.step(expected.at("lr").get<double>());
    deviation = std::max(deviation,
                         (p - tensor(expected.at("params_after")[t])).abs().max().item<double>());
  }
  RecordProperty("largest_deviation", fmt::format("{:g}", deviation));
  EXPECT_LE(deviation, 3e-7);
}

void expect_schedule(const char* name, const LrScheduleOptions& options) {
  options.validate();
  for (const auto& [updates, lr] : golden().at("lr").at(name).items()) {
    EXPECT_DOUBLE_EQ(lr_at(options, std::stoll(updates), 1), lr.get<double>())
        << name << " " << updates;
  }
}

TEST(LrScheduleGolden, EqualsTheReference) {
  expect_schedule("poly", {.lr_scheduler = "polynomial_decay",
                           .lr = {3e-4},
                           .warmup_updates = 10,
                           .total_num_update = 100});
  expect_schedule("poly_p2_end", {.lr_scheduler = "polynomial_decay",
                                  .lr = {3e-4},
                                  .warmup_updates = 10,
                                  .total_num_update = 100,
                                  .end_learning_rate = 1e-5,
                                  .power = 2.0});
  expect_schedule("inverse_sqrt",
                  {.lr_scheduler = "inverse_sqrt", .lr = {5e-4}, .warmup_updates = 40});
}

}  // namespace
}  // namespace evomoe
