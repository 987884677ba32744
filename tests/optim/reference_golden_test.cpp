// The authors' optimiser and schedules, recorded in tests/golden/data.json.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "evomoe/optim/adafactor.h"
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

TEST(AdafactorGolden, SixStepsEqualTheReferenceInEachForm) {
  const auto cases = testing::read_json(testing::golden_dir() / "adafactor.json");
  ASSERT_EQ(cases.size(), 5U);
  for (const auto& [name, expected] : cases.items()) {
    const auto& given = expected.at("options");
    AdafactorOptions options;
    options.scale_parameter = given.at("scale_parameter").get<bool>();
    options.relative_step = given.at("relative_step").get<bool>();
    options.warmup_init = given.value("warmup_init", false);
    options.clip_threshold = given.value("clip_threshold", options.clip_threshold);
    if (given.contains("beta1")) options.beta1 = given.at("beta1").get<double>();
    const double lr = given.at("lr").is_null() ? 0.0 : given.at("lr").get<double>();
    double deviation = 0;
    for (const auto& parameter : expected.at("parameters")) {
      const auto shape = parameter.at("shape").get<std::vector<int64_t>>();
      const auto tensor = [&](const nlohmann::json& values) {
        return torch::tensor(values.get<std::vector<float>>()).view(shape);
      };
      auto p = tensor(parameter.at("start")).requires_grad_();
      Optimizer optimizer({{"p", p}}, std::make_unique<Adafactor>(options),
                          {.weight_decay = given.value("weight_decay", 0.0)});
      for (size_t t = 0; t < parameter.at("gradients").size(); ++t) {
        p.mutable_grad() = tensor(parameter.at("gradients")[t]);
        optimizer.step(optimizer.learning_rate(lr, static_cast<int64_t>(t) + 1));
        const auto after = tensor(parameter.at("after")[t]);
        deviation = std::max(deviation, (p - after).abs().max().item<double>());
      }
    }
    RecordProperty("largest_deviation_" + name, fmt::format("{:g}", deviation));
    EXPECT_LE(deviation, 1e-6) << name;
  }
}

void expect_schedule(const char* name, const LrScheduleOptions& options) {
  options.validate();
  for (const auto& [updates, lr] : golden().at("lr").at(name).items()) {
    EXPECT_DOUBLE_EQ(lr_at(options, std::stoll(updates), 1), lr.get<double>())
        << name << " " << updates;
  }
}

TEST(LrScheduleGolden, EqualsTheReference) {
  expect_schedule(
      "poly",
      {.kind = "polynomial_decay", .lr = {3e-4}, .warmup_updates = 10, .total_num_update = 100});
  expect_schedule("poly_p2_end", {.kind = "polynomial_decay",
                                  .lr = {3e-4},
                                  .warmup_updates = 10,
                                  .total_num_update = 100,
                                  .end_learning_rate = 1e-5,
                                  .power = 2.0});
  expect_schedule("inverse_sqrt", {.kind = "inverse_sqrt", .lr = {5e-4}, .warmup_updates = 40});
}

}  // namespace
}  // namespace evomoe
