#include "evomoe/moe/evolution.h"

#include <gtest/gtest.h>

#include <functional>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

EvolutionOptions annealed() {
  EvolutionOptions options;
  options.use_gumbel_softmax = true;
  options.gumbel_decay_scheduler = "Linear";
  options.max_temperature = 2;
  options.min_temperature = 0.5;
  options.gumbel_decay_factor = 100;
  options.switch_to_hard_gumbel_softmax = 200;
  return options;
}

TEST(Evolution, GoesThroughItsStagesInOrder) {
  auto options = annealed();
  options.shared_expert_updates = 50;
  EXPECT_EQ(stage_at(options, 0).stage, Stage::kSharedExpert);
  EXPECT_EQ(stage_at(options, 49).stage, Stage::kSharedExpert);
  EXPECT_EQ(stage_at(options, 50).stage, Stage::kDenseToSparse);
  EXPECT_EQ(stage_at(options, 249).stage, Stage::kDenseToSparse);
  EXPECT_EQ(stage_at(options, 250).stage, Stage::kSparse);
  EXPECT_EQ(stage_at(options, 1000000).stage, Stage::kSparse);
}

TEST(Evolution, SpawnsAtExactlyOneUpdate) {
  auto options = annealed();
  for (int64_t n = 0; n < 100; ++n) EXPECT_FALSE(stage_at(options, n).spawn);
  options.shared_expert_updates = 50;
  for (int64_t n = 0; n < 100; ++n) EXPECT_EQ(stage_at(options, n).spawn, n == 50) << n;
}

TEST(Evolution, TheScheduleCountsFromTheSpawn) {
  auto options = annealed();
  auto later = options;
  later.shared_expert_updates = 37;
  for (int64_t n = 0; n < 300; ++n) {
    const auto a = stage_at(options, n), b = stage_at(later, n + 37);
    EXPECT_EQ(a.stage, b.stage);
    EXPECT_EQ(a.schedule.temperature, b.schedule.temperature);
    EXPECT_EQ(a.schedule.hard, b.schedule.hard);
  }
}

TEST(Evolution, ExpertsGrowInStepsFromTheSpawn) {
  EvolutionOptions options;
  EXPECT_EQ(experts_at(options, 8, 0), 8);
  options.shared_expert_updates = 5;
  options.growth_experts = {2, 4};
  options.growth_updates = {10, 3};
  validate(options);
  check_growth(options, 8);
  const std::vector<std::pair<int64_t, int64_t>> steps = {{0, 2},  {5, 2},  {14, 2},  {15, 4},
                                                          {17, 4}, {18, 8}, {1000, 8}};
  for (const auto& [update, experts] : steps) EXPECT_EQ(experts_at(options, 8, update), experts);
  // A second warm-up follows each.
  options.lr_rewarmup_updates = 2;
  for (const int64_t update : {5, 15, 18}) EXPECT_EQ(rewarmup_factor(options, update), 0.5);
  for (const int64_t update : {4, 6, 14, 16, 17, 19})
    EXPECT_EQ(rewarmup_factor(options, update), 1);
  for (const int64_t all : {4, 6}) EXPECT_THROW(check_growth(options, all), UsageError) << all;
  options.growth_experts = {4, 2};
  EXPECT_THROW(check_growth(options, 8), UsageError);
}

TEST(Evolution, TheSecondWarmUpRisesFromTheSpawnToTheScheduleAgain) {
  EvolutionOptions options;
  options.shared_expert_updates = 50;
  EXPECT_EQ(rewarmup_factor(options, 50), 1.0);
  options.lr_rewarmup_updates = 4;
  validate(options);
  for (const int64_t n : {0, 49, 53, 54, 1000}) EXPECT_EQ(rewarmup_factor(options, n), 1.0) << n;
  for (const int64_t j : {0, 1, 2})
    EXPECT_DOUBLE_EQ(rewarmup_factor(options, 50 + j), 0.25 * static_cast<double>(j + 1));
}

TEST(Evolution, TheFirstUpdateIsSoftAndTheDefaultSwitchIsTheSecond) {
  auto options = annealed();
  for (const int64_t switch_to_hard : {-1, 0, 1}) {
    options.switch_to_hard_gumbel_softmax = switch_to_hard;
    EXPECT_FALSE(stage_at(options, 0).schedule.hard);
    EXPECT_TRUE(stage_at(options, 1).schedule.hard);
  }
  options.switch_to_hard_gumbel_softmax = 2;
  EXPECT_FALSE(stage_at(options, 1).schedule.hard);
  EXPECT_TRUE(stage_at(options, 2).schedule.hard);
}

TEST(Evolution, WithoutASchedulerTheTemperatureStays) {
  auto options = annealed();
  options.gumbel_decay_scheduler = "none";
  EXPECT_EQ(stage_at(options, 100000).schedule.temperature, 2.0);
}

TEST(Evolution, WithoutGumbelSoftmaxNothingChanges) {
  EvolutionOptions options;
  for (const int64_t n : {0, 1, 1000}) {
    const auto state = stage_at(options, n);
    EXPECT_EQ(state.stage, Stage::kConstant);
    EXPECT_EQ(state.schedule.temperature, -1.0);
    EXPECT_FALSE(state.schedule.hard);
  }
  options.shared_expert_updates = 5;
  EXPECT_EQ(stage_at(options, 4).stage, Stage::kSharedExpert);
  EXPECT_TRUE(stage_at(options, 5).spawn);
  EXPECT_EQ(stage_at(options, 5).stage, Stage::kConstant);
}

TEST(Evolution, NoiseOfTheSparseStageFallsLinearlyOrAtOnce) {
  auto options = annealed();
  options.sparse_stage_noise = 0.2;
  EXPECT_EQ(stage_at(options, 199).schedule.noise_scale, 1.0);
  EXPECT_EQ(stage_at(options, 200).schedule.noise_scale, 0.2);
  options.sparse_noise_decay = 10;
  EXPECT_EQ(stage_at(options, 200).schedule.noise_scale, 1.0);
  EXPECT_NEAR(stage_at(options, 205).schedule.noise_scale, 0.6, 1e-12);
  EXPECT_NEAR(stage_at(options, 210).schedule.noise_scale, 0.2, 1e-12);
  EXPECT_NEAR(stage_at(options, 500).schedule.noise_scale, 0.2, 1e-12);
}

TEST(Evolution, StagesHaveNames) {
  EXPECT_STREQ(stage_name(Stage::kSharedExpert), "shared-expert");
  EXPECT_STREQ(stage_name(Stage::kDenseToSparse), "dense-to-sparse");
  EXPECT_STREQ(stage_name(Stage::kSparse), "sparse");
  EXPECT_STREQ(stage_name(Stage::kConstant), "");
}

TEST(Evolution, ImpossibleOptionsAreRefusedByName) {
  validate(annealed());
  validate(EvolutionOptions{});
  const std::vector<std::pair<std::string, std::function<void(EvolutionOptions&)>>> cases = {
      {"--shared-expert-updates -1", [](auto& o) { o.shared_expert_updates = -1; }},
      {"--gumbel-decay-scheduler 'linear'", [](auto& o) { o.gumbel_decay_scheduler = "linear"; }},
      {"--min-temperature 0", [](auto& o) { o.min_temperature = 0; }},
      {"--max-temperature 0.1", [](auto& o) { o.max_temperature = 0.1; }},
      {"--gumbel-decay-factor 0", [](auto& o) { o.gumbel_decay_factor = 0; }},
      {"--switch-to-hard-gumbel-softmax -2", [](auto& o) { o.switch_to_hard_gumbel_softmax = -2; }},
      {"--diversify-ratio 2", [](auto& o) { o.diversify.ratio = 2; }},
      {"--sparse-stage-noise 1.5", [](auto& o) { o.sparse_stage_noise = 1.5; }},
      {"--sparse-noise-decay -3", [](auto& o) { o.sparse_noise_decay = -3; }},
      {"--evolution-router-init kmeans is of the spawn",
       [](auto& o) { o.evolution_router_init = "kmeans"; }},
      {"--evolution-router-init 'k-means'", [](auto& o) { o.evolution_router_init = "k-means"; }},
      {"--growth-experts has 2 numbers and --growth-updates 1",
       [](auto& o) {
         o.growth_experts = {2, 4}, o.growth_updates = {9};
       }},
      {"--growth-updates 0", [](auto& o) { o.growth_experts = {2}, o.growth_updates = {0}; }},
      {"--growth-noise -1", [](auto& o) { o.growth_noise = -1; }},
      {"--lr-rewarmup-updates 9 follows the spawn", [](auto& o) { o.lr_rewarmup_updates = 9; }}};
  for (const auto& [text, change] : cases) {
    auto options = annealed();
    change(options);
    try {
      validate(options);
      ADD_FAILURE() << text << " was accepted";
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(stage_at(annealed(), -1), Error);
}

}  // namespace
}  // namespace evomoe
