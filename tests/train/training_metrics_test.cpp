#include "evomoe/train/training_metrics.h"

#include <gtest/gtest.h>

namespace evomoe {
namespace {

/// Four tokens: two with one expert, one with two, one with none; one assignment was dropped.
RouterStats some_stats() {
  RouterStats stats;
  stats.load_E = torch::tensor({3, 1, 0}, torch::kInt64);
  stats.active_E1 = torch::tensor({1, 2, 1, 0}, torch::kInt64);
  stats.entropy_sum = torch::tensor(2.0, torch::kFloat64);
  stats.dropped = torch::tensor(1, torch::kInt64);
  stats.non_argmax = torch::tensor(1, torch::kInt64);
  stats.tokens = 4;
  return stats;
}

TEST(RouterData, SaysWhatEachRouterDid) {
  const auto data = router_data({{1, some_stats()}, {3, some_stats()}}, /*with_load=*/true);
  ASSERT_EQ(data.size(), 2U);
  EXPECT_EQ(data[1].at("layer"), 3);
  const auto& entry = data[0];
  EXPECT_EQ(entry.at("active_experts"), 1.0);
  EXPECT_EQ(entry.at("load_min"), 0);
  EXPECT_EQ(entry.at("load_max"), 3);
  EXPECT_EQ(entry.at("dead_experts"), 1);
  EXPECT_EQ(entry.at("max_vio"), 1.25) << "3 of a mean of 4/3";
  EXPECT_EQ(entry.at("entropy"), 0.5);
  EXPECT_EQ(entry.at("dropped_share"), 0.25);
  EXPECT_EQ(entry.at("unrouted_share"), 0.25);
  EXPECT_EQ(entry.at("non_argmax_share"), 0.25);
  EXPECT_EQ(entry.at("load"), nlohmann::ordered_json({3, 1, 0}));
  EXPECT_FALSE(router_data({{1, some_stats()}}, /*with_load=*/false)[0].contains("load"));
}

TEST(LogsLoad, MoreRarelyWhereThereAreManyExperts) {
  const auto lines_with_load = [](int64_t layers, int64_t experts) {
    auto stats = some_stats();
    stats.load_E = torch::ones({experts}, torch::kInt64);
    int lines = 0;
    for (int line = 1; line <= 100; ++line)
      lines += logs_load(LayerStats(static_cast<size_t>(layers), {1, stats}), line) ? 1 : 0;
    return lines;
  };
  EXPECT_EQ(lines_with_load(6, 8), 100);
  EXPECT_EQ(lines_with_load(16, 64), 100);
  EXPECT_EQ(lines_with_load(16, 65), 50);
  EXPECT_EQ(lines_with_load(100, 256), 4);
}

TEST(ActiveExperts, AreTheMeanOverLayersAndNothingForADenseModel) {
  auto busy = some_stats();
  busy.load_E = torch::tensor({4, 4, 4}, torch::kInt64);
  EXPECT_EQ(active_experts({{1, some_stats()}, {3, busy}}), 2.0);
  EXPECT_FALSE(active_experts({}).has_value());
}

TEST(RouterText, TellsOfTheWorstLayerAndOfAGateThatIsAnnealed) {
  const auto text = [](const UpdateResult& result) {
    LogLine line(1);
    add_router_text(line, result);
    return line.bar_text();
  };
  UpdateResult result;
  EXPECT_EQ(text(result), "epoch 001") << "a dense model";
  auto balanced = some_stats();
  balanced.load_E = torch::tensor({4, 4, 4}, torch::kInt64);
  result.routers = {{1, some_stats()}, {3, balanced}, {5, some_stats()}};
  EXPECT_EQ(text(result), "epoch 001 | dead_experts 2 | max_vio 1.25");
  result.stage.schedule.temperature = 0.75;
  EXPECT_EQ(text(result),
            "epoch 001 | temperature 0.75 | active_experts 1.67 | dead_experts 2 | max_vio 1.25");
  auto shared = some_stats();
  shared.load_E = torch::tensor({4}, torch::kInt64);
  result.routers = {{1, shared}};
  EXPECT_EQ(text(result), "epoch 001") << "one shared expert";
}

TEST(StageData, HoldsTheTemperatureWhereThereIsOne) {
  StageState stage;
  EXPECT_FALSE(stage_data(stage).contains("temperature"));
  stage.stage = Stage::kSparse;
  stage.schedule = {.temperature = 0.5, .hard = true, .noise_scale = 0.25};
  const auto data = stage_data(stage);
  EXPECT_EQ(data.at("stage"), "sparse");
  EXPECT_EQ(data.at("temperature"), 0.5);
  EXPECT_EQ(data.at("noise_scale"), 0.25);
}

TEST(Correlations, AreThoseOfTwoClassesOrOfNumbers) {
  LossSums sums;
  MeterGroup none, classes, numbers;
  log_correlations(none, sums);
  EXPECT_TRUE(none.keys().empty());
  sums.confusion = {{{6, 3}, {1, 2}}};
  log_correlations(classes, sums);
  EXPECT_EQ(classes.keys(), (std::vector<std::string>{"mcc"}));
  EXPECT_EQ(classes.rounded("mcc"), 0.2928);
  sums = {};
  sums.answers = {{1, 1}, {2, 3}};
  LossSums more;
  more.answers = {{2, 2}, {3, 10}};
  sums += more;
  log_correlations(numbers, sums);
  EXPECT_EQ(numbers.keys(), (std::vector<std::string>{"pearson", "spearman"}));
  EXPECT_EQ(numbers.rounded("pearson"), 0.9);
  EXPECT_EQ(numbers.rounded("spearman"), 0.9487);
}

class MeansOfNothing : public ::testing::TestWithParam<std::string> {
 protected:
  static CriterionOptions options() {
    CriterionOptions options;
    options.criterion = GetParam();
    options.report_accuracy = true;
    return options;
  }
  /// Sums over `count` targets in as many sequences, each with the same loss.
  static LossSums sums(int64_t count) {
    LossSums sums;
    sums.sample_size = sums.tokens = sums.sequences = sums.predicted = count;
    sums.correct = count / 2;
    sums.loss = sums.inner = sums.nll = 2.0 * static_cast<double>(count);
    sums.gate = 0.5 * static_cast<double>(count);
    sums.batches = 1;
    for (const auto& name : reference_metric_names()) sums.metrics.emplace_back(name, 3.0);
    return sums;
  }
  static nlohmann::ordered_json line(const MeterGroup& meters) {
    LogLine line(1);
    meters.write(line);
    return line.to_json();
  }
};

TEST_P(MeansOfNothing, HaveNoValueAndChangeNoOther) {
  MeterGroup nothing;
  log_losses(nothing, sums(0), options());
  for (const auto* key :
       {"loss", "ppl", "nll_loss", "inner_loss", "moe_gate_loss", "accuracy", "gumbel_avg_experts"})
    EXPECT_FALSE(line(nothing).contains(key)) << key;
  MeterGroup alone, beside;
  log_losses(alone, sums(4), options());
  log_losses(beside, sums(0), options());
  log_losses(beside, sums(4), options());
  log_losses(beside, sums(0), options());
  EXPECT_TRUE(line(alone).contains("loss"));
  EXPECT_EQ(line(beside), line(alone));
}

INSTANTIATE_TEST_SUITE_P(Criterions, MeansOfNothing,
                         ::testing::Values("cross_entropy", "moe_cross_entropy",
                                           "cross_entropy_gumbel", "masked_lm", "moe_masked_lm",
                                           "masked_lm_gumbel", "label_smoothed_cross_entropy",
                                           "moe_label_smoothed_cross_entropy",
                                           "sentence_prediction"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace evomoe
