#include "evomoe/optim/lr_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(FixedSchedule, FollowsTheListByEpochAndThenShrinks) {
  LrScheduleOptions options = {.lr = {0.1, 0.2, 0.3}, .lr_shrink = 0.5, .force_anneal = 5};
  options.validate();
  EXPECT_DOUBLE_EQ(lr_at(options, 0, 1), 0.1);
  EXPECT_DOUBLE_EQ(lr_at(options, 99, 2), 0.2);
  EXPECT_DOUBLE_EQ(lr_at(options, 99, 4), 0.3);
  EXPECT_DOUBLE_EQ(lr_at(options, 99, 5), 0.15);
  EXPECT_DOUBLE_EQ(lr_at(options, 99, 6), 0.075);
}

TEST(FixedSchedule, WarmsUpFromOneStepNotFromZero) {
  const LrScheduleOptions options = {.lr = {0.4}, .warmup_updates = 4};
  EXPECT_DOUBLE_EQ(lr_at(options, 0, 1), 0.1);
  EXPECT_DOUBLE_EQ(lr_at(options, 3, 1), 0.4);
  EXPECT_DOUBLE_EQ(lr_at(options, 100, 1), 0.4);
}

TEST(PolynomialSchedule, TakesMaxUpdateWhenNoTotalIsGiven) {
  LrScheduleOptions options = {.lr_scheduler = "polynomial_decay", .lr = {1.0}, .max_update = 10};
  options.validate();
  EXPECT_DOUBLE_EQ(lr_at(options, 0, 1), 1.0);
  EXPECT_DOUBLE_EQ(lr_at(options, 5, 1), 0.5);
  EXPECT_DOUBLE_EQ(lr_at(options, 10, 1), 0.0);
}

TEST(PolynomialSchedule, SkipsTheFirstOfSeveralValuesAsFairseqDoes) {
  const LrScheduleOptions options = {
      .lr_scheduler = "polynomial_decay", .lr = {1.0, 2.0, 4.0}, .max_update = 10};
  EXPECT_DOUBLE_EQ(lr_at(options, 0, 1), 2.0);
  EXPECT_DOUBLE_EQ(lr_at(options, 0, 9), 4.0);
}

TEST(CosineSchedule, WarmsUpFallsAndRestarts) {
  LrScheduleOptions options = {.lr_scheduler = "cosine",
                               .lr = {1.0},
                               .warmup_updates = 10,
                               .lr_shrink = 0.5,
                               .min_lr = 0.2,
                               .lr_period_updates = 100};
  options.validate();
  EXPECT_DOUBLE_EQ(lr_at(options, 0, 1), 0.2);
  EXPECT_DOUBLE_EQ(lr_at(options, 5, 1), 0.6);
  EXPECT_DOUBLE_EQ(lr_at(options, 10, 1), 1.0);
  EXPECT_DOUBLE_EQ(lr_at(options, 60, 1), 0.6);
  EXPECT_NEAR(lr_at(options, 109, 1), 0.2, 3e-4);
  EXPECT_DOUBLE_EQ(lr_at(options, 110, 1), 0.5);
  options.warmup_init_lr = 0.0;
  EXPECT_DOUBLE_EQ(lr_at(options, 0, 1), 0.0);
}

TEST(CosineSchedule, PeriodsGrowByTMult) {
  const LrScheduleOptions options = {.lr_scheduler = "cosine",
                                     .lr = {1.0},
                                     .lr_shrink = 0.5,
                                     .lr_period_updates = 10,
                                     .t_mult = 3.0};
  EXPECT_DOUBLE_EQ(lr_at(options, 5, 1), 0.5);
  EXPECT_DOUBLE_EQ(lr_at(options, 10, 1), 0.5);
  EXPECT_DOUBLE_EQ(lr_at(options, 25, 1), 0.25);
  EXPECT_DOUBLE_EQ(lr_at(options, 40, 1), 0.25);
  EXPECT_DOUBLE_EQ(lr_at(options, 130, 1), 0.125);
}

TEST(CosineSchedule, PeriodIsTheRestOfTheRunByDefault) {
  const LrScheduleOptions options = {
      .lr_scheduler = "cosine", .lr = {1.0}, .warmup_updates = 10, .max_update = 110};
  EXPECT_DOUBLE_EQ(lr_at(options, 60, 1), 0.5);
}

TEST(InverseSqrtSchedule, StartsAtWarmupInitLr) {
  const LrScheduleOptions options = {
      .lr_scheduler = "inverse_sqrt", .lr = {1.0}, .warmup_updates = 10, .warmup_init_lr = 0.5};
  EXPECT_DOUBLE_EQ(lr_at(options, 0, 1), 0.5);
  EXPECT_DOUBLE_EQ(lr_at(options, 5, 1), 0.75);
}

LrScheduleOptions tri_stage_of(int64_t warmup, int64_t hold, int64_t decay) {
  return {.lr_scheduler = "tri_stage",
          .lr = {0.5},
          .warmup_steps = warmup,
          .hold_steps = hold,
          .decay_steps = decay,
          .init_lr_scale = 0.1,
          .final_lr_scale = 0.01};
}

TEST(TriStageSchedule, HasFairseqsNumbers) {
  // Those of TriStageLRSchedule.step_update() of fairseq with these flags.
  const auto options = tri_stage_of(10, 20, 40);
  options.validate();
  EXPECT_EQ(options.effective_warmup_updates(), 10);
  EXPECT_DOUBLE_EQ(lr_at(options, 0, 1), 0.05);
  EXPECT_DOUBLE_EQ(lr_at(options, 1, 1), 0.095);
  EXPECT_DOUBLE_EQ(lr_at(options, 9, 1), 0.455);
  EXPECT_DOUBLE_EQ(lr_at(options, 10, 1), 0.5);
  EXPECT_DOUBLE_EQ(lr_at(options, 29, 1), 0.5);
  EXPECT_DOUBLE_EQ(lr_at(options, 30, 1), 0.5);
  EXPECT_NEAR(lr_at(options, 31, 1), 0.445625469066873, 1e-15);
  EXPECT_NEAR(lr_at(options, 50, 1), 0.05, 1e-15);
  EXPECT_NEAR(lr_at(options, 70, 1), 0.005, 1e-15);
  EXPECT_DOUBLE_EQ(lr_at(options, 71, 1), 0.005);
  EXPECT_DOUBLE_EQ(lr_at(options, 100000, 1), 0.005);
}

TEST(TriStageSchedule, SharesOfTheRunAreRoundedDownAsInFairseq) {
  auto by_share = tri_stage_of(0, 0, 0);
  by_share.phase_ratio = std::vector<double>{0.1, 0.4, 0.5};
  by_share.max_update = 57;
  by_share.validate();
  const auto by_steps = tri_stage_of(5, 22, 28);
  EXPECT_EQ(by_share.decay_end(), 55);
  for (int64_t n = 0; n < 60; ++n)
    EXPECT_DOUBLE_EQ(lr_at(by_share, n, 1), lr_at(by_steps, n, 1)) << n;
}

TEST(TriStageSchedule, AWarmUpOfNothingBeginsAtTheFullRate) {
  EXPECT_DOUBLE_EQ(lr_at(tri_stage_of(0, 3, 4), 0, 1), 0.5);
}

LrScheduleOptions wsd_of(const std::string& shape) {
  return {.lr_scheduler = "wsd",
          .lr = {1.0},
          .warmup_updates = 10,
          .end_learning_rate = 0.2,
          .max_update = 100,
          .wsd_decay_share = 0.25,
          .wsd_decay = shape};
}

TEST(WsdSchedule, WarmsUpStaysAndDecaysInTheShapeThatIsGiven) {
  for (const std::string shape : {"linear", "1-sqrt", "cosine"}) {
    SCOPED_TRACE(shape);
    const auto options = wsd_of(shape);
    options.validate();
    EXPECT_DOUBLE_EQ(lr_at(options, 0, 1), 0.0);
    EXPECT_DOUBLE_EQ(lr_at(options, 5, 1), 0.5);
    for (const int64_t n : {10, 50, 75}) EXPECT_DOUBLE_EQ(lr_at(options, n, 1), 1.0);
    EXPECT_LT(lr_at(options, 76, 1), 1.0);
    EXPECT_GT(lr_at(options, 99, 1), 0.2);
    for (const int64_t n : {100, 5000}) EXPECT_DOUBLE_EQ(lr_at(options, n, 1), 0.2);
  }
  // A fifth of the decay is done: 0.2 + 0.8 of what is left.
  EXPECT_NEAR(lr_at(wsd_of("linear"), 80, 1), 0.2 + 0.8 * 0.8, 1e-15);
  EXPECT_NEAR(lr_at(wsd_of("1-sqrt"), 80, 1), 0.2 + 0.8 * (1 - std::sqrt(0.2)), 1e-15);
  EXPECT_NEAR(lr_at(wsd_of("cosine"), 80, 1), 0.2 + 0.8 * 0.904508497187474, 1e-14);
}

TEST(WsdSchedule, ALongerRunHasTheSameRatesUntilTheDecayOfTheShorterOne) {
  const auto shorter = wsd_of("linear");
  auto longer = shorter;
  longer.max_update = 200;
  for (int64_t n = 0; n <= 75; ++n) EXPECT_EQ(lr_at(shorter, n, 1), lr_at(longer, n, 1)) << n;
}

struct BadOptions {
  LrScheduleOptions options;
  const char* message;
};

TEST(LrSchedule, RefusesBadOptionsByName) {
  const std::vector<BadOptions> cases = {
      {{.lr_scheduler = "polynomial"}, "did you mean 'polynomial_decay'"},
      {{.lr_scheduler = "cosin"},
       "did you mean 'cosine'? Known: fixed, polynomial_decay, inverse_sqrt, cosine, tri_stage, "
       "wsd"},
      {{.lr = {}}, "--lr is empty"},
      {{.lr = {-0.1}}, "--lr is -0.1"},
      {{.lr = {NAN}}, "--lr is nan"},
      {{.warmup_updates = -1}, "--warmup-updates is -1"},
      {{.lr_shrink = -2}, "--lr-shrink is -2"},
      {{.force_anneal = 0}, "--force-anneal is 0"},
      {{.max_update = -3}, "--max-update is -3"},
      {{.lr_scheduler = "polynomial_decay"}, "set --total-num-update or --max-update"},
      {{.lr_scheduler = "polynomial_decay", .warmup_updates = 11, .total_num_update = 10},
       "--warmup-updates 11 is more than --total-num-update 10"},
      {{.lr_scheduler = "polynomial_decay", .warmup_updates = 11, .max_update = 10},
       "--warmup-updates 11 is more than --max-update 10"},
      {{.lr_scheduler = "polynomial_decay", .power = 0, .max_update = 10}, "--power is 0"},
      {{.lr_scheduler = "polynomial_decay", .force_anneal = 2, .max_update = 10},
       "--force-anneal 2 does not go"},
      {{.lr_scheduler = "polynomial_decay", .end_learning_rate = INFINITY, .max_update = 10},
       "--end-learning-rate is inf"},
      {{.lr_scheduler = "inverse_sqrt", .warmup_updates = 0},
       "needs --warmup-updates of at least 1"},
      {{.lr_scheduler = "inverse_sqrt", .lr = {1, 2}, .warmup_updates = 5}, "--lr has 2 values"},
      {{.lr_scheduler = "inverse_sqrt", .warmup_updates = 5, .warmup_init_lr = NAN},
       "--warmup-init-lr is nan"},
      {{.lr_scheduler = "cosine"}, "set --lr-period-updates or --max-update"},
      {{.lr_scheduler = "cosine", .warmup_updates = 10, .max_update = 10},
       "leaves no update for the cosine"},
      {{.lr_scheduler = "cosine", .t_mult = 0.5, .max_update = 10}, "--t-mult is 0.5"},
      {{.lr_scheduler = "cosine", .min_lr = 0.5, .max_update = 10},
       "--min-lr 0.5 must be less than --lr 0.25"},
      {{.lr_scheduler = "cosine", .lr_period_updates = -5, .max_update = 10},
       "--lr-period-updates is -5"},
      {{.lr_scheduler = "tri_stage"}, "needs updates to decay: set --decay-steps"},
      {{.lr_scheduler = "tri_stage", .warmup_updates = 7, .decay_steps = 5},
       "--warmup-updates 7 does not go with --lr-scheduler tri_stage"},
      {{.lr_scheduler = "tri_stage", .lr = {1, 2}, .decay_steps = 5}, "--lr has 2 values"},
      {{.lr_scheduler = "tri_stage", .hold_steps = -2, .decay_steps = 5}, "--hold-steps is -2"},
      {{.lr_scheduler = "tri_stage", .decay_steps = 5, .final_lr_scale = 0},
       "--final-lr-scale is 0"},
      {{.lr_scheduler = "tri_stage",
        .max_update = 9,
        .phase_ratio = std::vector<double>{0.1, 0.4, 0.4}},
       "must add up to 1, not 0.9"},
      {{.lr_scheduler = "tri_stage", .phase_ratio = std::vector<double>{0.1, 0.4, 0.5}},
       "set --max-update"},
      {{.lr_scheduler = "tri_stage", .max_update = 9, .phase_ratio = std::vector<double>{0.5, 0.5}},
       "--phase-ratio has 2 values"},
      {{.lr_scheduler = "tri_stage",
        .max_update = 1,
        .phase_ratio = std::vector<double>{0.1, 0.4, 0.5}},
       "long enough"},
      {{.lr_scheduler = "wsd"}, "set --max-update or --total-num-update"},
      {{.lr_scheduler = "wsd", .max_update = 9, .wsd_decay_share = 0}, "--wsd-decay-share is 0"},
      {{.lr_scheduler = "wsd", .warmup_updates = 81, .max_update = 100},
       "20 updates of decay, with --warmup-updates 81"},
      {{.lr_scheduler = "wsd", .max_update = 9, .wsd_decay = "square"}, "--wsd-decay 'square'"},
      {{.lr_scheduler = "wsd", .end_learning_rate = 0.5, .max_update = 9},
       "--end-learning-rate 0.5 is above --lr 0.25"},
  };
  for (const auto& bad : cases) {
    EXPECT_THAT(([&] { bad.options.validate(); }),
                ThrowsMessage<UsageError>(HasSubstr(bad.message)));
  }
  EXPECT_NO_THROW(LrScheduleOptions{}.validate());
}

TEST(LrSchedule, WarmupOfInverseSqrtIsFairseqs4000UnlessGiven) {
  LrScheduleOptions options;
  EXPECT_EQ(options.effective_warmup_updates(), 0);
  options.lr_scheduler = "inverse_sqrt";
  EXPECT_EQ(options.effective_warmup_updates(), 4000);
  options.warmup_updates = 0;
  EXPECT_EQ(options.effective_warmup_updates(), 0);
}

TEST(LrSchedule, IsFiniteAtItsEdges) {
  std::vector<LrScheduleOptions> schedules;
  for (const std::string kind :
       {"fixed", "polynomial_decay", "inverse_sqrt", "cosine", "tri_stage", "wsd"}) {
    for (const int64_t warmup : {0, 1, 9, 10}) {
      for (const double lr : {0.0, 0.5}) {
        for (const double shrink : {0.0, 1.0}) {
          LrScheduleOptions options = {.lr_scheduler = kind,
                                       .lr = {lr},
                                       .warmup_updates = warmup,
                                       .lr_shrink = shrink,
                                       .max_update = 10};
          if (kind == "cosine") options.t_mult = 1 + shrink;
          if (kind == "tri_stage") {
            options.warmup_updates.reset();
            options.warmup_steps = warmup;
            options.hold_steps = options.decay_steps = 1;
          }
          schedules.push_back(options);
        }
      }
    }
  }
  int valid = 0;
  for (const auto& options : schedules) {
    try {
      options.validate();
    } catch (const UsageError&) {
      continue;  // one that divides by 0 is refused
    }
    ++valid;
    for (const int64_t update : {0, 1, 8, 9, 10, 11, 1000})
      EXPECT_TRUE(std::isfinite(lr_at(options, update, 1)))
          << options.lr_scheduler << " " << options.effective_warmup_updates() << " " << update;
  }
  EXPECT_GT(valid, 40);
}

TEST(TriStage, ADecayOfNoUpdateIsOver) {
  LrScheduleOptions options;
  options.lr_scheduler = "tri_stage";
  options.lr = {0.5};
  options.max_update = 50;
  options.phase_ratio = {0.1, 0.89, 0.01};
  EXPECT_DOUBLE_EQ(lr_at(options, 48, 1), 0.5);
  EXPECT_DOUBLE_EQ(lr_at(options, 49, 1), 0.5 * options.final_lr_scale);
}

}  // namespace
}  // namespace evomoe
