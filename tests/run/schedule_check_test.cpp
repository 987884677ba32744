#include "evomoe/run/schedule_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace evomoe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// A run of 1000 updates in which everything has its place.
TrainOptions fitting() {
  TrainOptions options;
  options.model.arch = "transformer_lm_gpt2_tiny";
  options.moe.moe_freq = 2;
  options.moe.moe_expert_count = 4;
  options.moe.moe_router = "dts";
  options.evolution.shared_expert_updates = 200;
  options.evolution.use_gumbel_softmax = true;
  options.evolution.gumbel_decay_scheduler = "Linear";
  options.evolution.gumbel_decay_factor = 400;
  options.evolution.switch_to_hard_gumbel_softmax = 500;
  options.evolution.sparse_noise_decay = 100;
  options.optimization.max_update = 1000;
  options.optimization.lr_scheduler = "polynomial_decay";
  options.optimization.warmup_updates = 100;
  return options;
}

struct Unfit {
  std::string name;
  std::function<void(TrainOptions&)> change;
  std::vector<std::string> words;
  int64_t updates = 1000;
};

const std::vector<Unfit>& kinds() {
  const auto evolution = [](auto change) {
    return [change](TrainOptions& options) { change(options.evolution); };
  };
  const auto lr = [](auto change) {
    return [change](TrainOptions& options) { change(options.optimization); };
  };
  static const std::vector<Unfit> kinds = {
      {"the spawn",
       evolution([](auto& o) { o.shared_expert_updates = 1000; }),
       {"--max-update 1000", "--shared-expert-updates 1000", "one shared expert"}},
      {"the sparse stage",
       evolution([](auto& o) {
         o.switch_to_hard_gumbel_softmax = 800;
         o.sparse_noise_decay = 0;
       }),
       {"after update 1000", "--switch-to-hard-gumbel-softmax 800", "--shared-expert-updates 200"}},
      {"the noise",
       evolution([](auto& o) { o.sparse_noise_decay = 301; }),
       {"at update 1001", "--sparse-noise-decay 301"}},
      {"the temperature",
       evolution([](auto& o) { o.gumbel_decay_factor = 801; }),
       {"--min-temperature 0.5", "at update 1001", "--gumbel-decay-factor 801"}},
      {"the warm-up",
       lr([](auto& o) { o.warmup_updates = 1000; }),
       {"--warmup-updates 1000", "never comes to --lr"}},
      {"the default warm-up",
       lr([](auto& o) {
         o.lr_scheduler = "inverse_sqrt";
         o.warmup_updates.reset();
       }),
       {"--warmup-updates 4000, the default of inverse_sqrt"}},
      {"a decay that ends early",
       lr([](auto& o) { o.total_num_update = 900; }),
       {"last 100 updates", "--end-learning-rate 0", "--total-num-update 900"}},
      {"a decay that ends late",
       lr([](auto& o) { o.total_num_update = 2001; }),
       {"until update 2001", "--total-num-update"}},
      {"a decay for another length",
       lr([](auto& o) {
         o.max_update = 5000;
         o.max_epoch = 3;
       }),
       {"--max-epoch 3, which is 1000 updates", "until update 5000", "--max-update"}},
      {"a cosine for another length",
       lr([](auto& o) {
         o.lr_scheduler = "cosine";
         o.max_update = 5000;
         o.max_epoch = 3;
       }),
       {"until update 5000", "--max-update"}},
      {"a long period",
       lr([](auto& o) {
         o.lr_scheduler = "cosine";
         o.lr_period_updates = 2000;
       }),
       {"until update 2100", "--lr-period-updates"}},
      {"the last growth",
       evolution([](auto& o) {
         o.growth_experts = {1, 2};
         o.growth_updates = {500, 300};
       }),
       {"all 4 experts after update 1000", "--growth-updates 500,300"}},
      {"a second warm-up",
       evolution([](auto& o) { o.lr_rewarmup_updates = 801; }),
       {"at update 1001", "--lr-rewarmup-updates 801 after --shared-expert-updates 200"}},
      {"parts of a run that are shorter than it",
       lr([](auto& o) {
         o.lr_scheduler = "tri_stage";
         o.warmup_updates.reset();
         o.hold_steps = o.decay_steps = 400;
       }),
       {"last 200 updates", "--final-lr-scale 0.01"}},
      {"a warm-up in steps",
       lr([](auto& o) {
         o.lr_scheduler = "tri_stage";
         o.warmup_updates.reset();
         o.warmup_steps = 1000;
         o.decay_steps = 1;
       }),
       {"--warmup-steps 1000"}},
      {"a stable part that is too long",
       lr([](auto& o) {
         o.lr_scheduler = "wsd";
         o.total_num_update = 2001;
       }),
       {"until update 2001", "--total-num-update"}},
      {"an annealing that never comes",
       lr([](auto& o) {
         o.lr_scheduler = "fixed";
         o.force_anneal = 9;
         o.max_update = 0;
         o.max_epoch = 8;
       }),
       {"--force-anneal 9", "--max-epoch 8"}},
  };
  return kinds;
}

TEST(UnfitSchedules, AreNoneWhereEverythingHasItsPlace) {
  auto options = fitting();
  EXPECT_THAT(unfit_schedules(options, 1000), IsEmpty());
  options.moe = MoeOptions();  // a dense model has no evolution
  options.evolution.shared_expert_updates = 5000;
  EXPECT_THAT(unfit_schedules(options, 1000), IsEmpty());
  options.optimization = OptimizationOptions();
  options.optimization.max_epoch = 1;
  EXPECT_THAT(unfit_schedules(options, 1), IsEmpty());
}

TEST(UnfitSchedules, AreSaidInOneSentenceEach) {
  for (const auto& kind : kinds()) {
    SCOPED_TRACE(kind.name);
    auto options = fitting();
    kind.change(options);
    const auto found = unfit_schedules(options, kind.updates);
    ASSERT_THAT(found, ElementsAre(HasSubstr("the run ends after ")));
    for (const auto& words : kind.words) EXPECT_THAT(found.front(), HasSubstr(words));
  }
}

}  // namespace
}  // namespace evomoe
