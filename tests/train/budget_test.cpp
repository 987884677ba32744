#include "evomoe/train/budget.h"

#include <gtest/gtest.h>

#include "evomoe/train/optimization_options.h"
#include "tests/testing/expect_error.h"

namespace evomoe {
namespace {

TEST(Budgets, AreOfOneUnit) {
  const Budget budget("flops=1e15");
  EXPECT_DOUBLE_EQ(budget.share({.tokens = 1e15, .flops = 2.5e14, .seconds = 1e15}), 0.25);
  EXPECT_FALSE(budget.is_spent({.tokens = 1e15, .flops = 9.99e14}));
  EXPECT_TRUE(budget.is_spent({.tokens = 0, .flops = 1e15}));
  EXPECT_DOUBLE_EQ(Budget("tokens=400").share({.tokens = 100}), 0.25);
  EXPECT_DOUBLE_EQ(Budget("seconds=400").share({.seconds = 100}), 0.25);
}

TEST(Budgets, OfAnotherFormAreRefused) {
  for (const auto* text : {"flop=1", "1e15", "", "tokens", "=4", "updates=4"})
    expect_error([&] { Budget budget(text); },
                 {"--budget", text, "tokens=N, flops=N or seconds=N"});
  for (const auto* text : {"tokens=", "tokens=x", "tokens=0", "tokens=-1", "tokens=inf",
                           "tokens=nan", "tokens=1e9x", "tokens=1 "})
    expect_error([&] { Budget budget(text); },
                 {"--budget", text, "must be a finite number above 0"});
}

TEST(Budgets, UpdatesThatCostTheSameGiveTheLengthFromTheFirstOneOn) {
  for (const double cost : {64.0, 1.0 / 3, 7e9}) {
    for (const int64_t length : {1, 7, 1000}) {
      // The last update may end beyond the budget.
      const double amount = cost * (static_cast<double>(length) - 0.5);
      for (const double whole : {amount, cost * static_cast<double>(length)}) {
        const Budget budget(fmt::format("flops={}", whole));
        double spent = 0;
        for (int64_t n = 1; n <= length; ++n) {
          EXPECT_FALSE(budget.is_spent({.flops = spent}));
          spent = cost * static_cast<double>(n);
          EXPECT_EQ(budget.length(n, {.flops = spent}), length) << cost << " " << n;
        }
        EXPECT_TRUE(budget.is_spent({.flops = spent}));
      }
    }
  }
}

TEST(Budgets, TheLearningRateIsThatOfARunOfAsManyUpdates) {
  for (const auto* scheduler : {"polynomial_decay", "cosine", "inverse_sqrt", "fixed"}) {
    OptimizationOptions of_updates;
    of_updates.lr_scheduler = scheduler;
    of_updates.lr = {0.1};
    of_updates.warmup_updates = 10;
    auto of_tokens = of_updates;
    of_updates.max_update = 100;
    of_tokens.budget = "tokens=6400";
    of_tokens.validate();
    for (int64_t n = 0; n <= 100; ++n) {
      const auto schedule = of_tokens.schedule(n, {.tokens = 64.0 * static_cast<double>(n)});
      if (n > 0) EXPECT_EQ(schedule.max_update, 100);
      EXPECT_EQ(lr_at(schedule, n, 1), lr_at(of_updates, n, 1)) << scheduler << " " << n;
    }
  }
}

TEST(Budgets, ADecayEndsWithTheBudgetWhereUpdatesBecomeCheaper) {
  OptimizationOptions options;
  options.lr_scheduler = "polynomial_decay";
  options.lr = {1.0};
  options.budget = "flops=1000";
  // As an evolution: the first 50 updates cost 16 each, later ones 2.
  double spent = 0, last = 2;
  int64_t n = 0;
  for (; !Budget(*options.budget).is_spent({.flops = spent}); ++n) {
    const double lr = lr_at(options.schedule(n, {.flops = spent}), n, 1);
    EXPECT_LE(lr, last + 0.02);  // the length is a whole number
    EXPECT_NEAR(lr, 1 - spent / 1000, 0.02);
    last = lr;
    spent += n < 50 ? 16 : 2;
  }
  EXPECT_EQ(n, 150);
  EXPECT_LT(last, 0.02);
}

TEST(Budgets, WhatElseSaysTheLengthIsRefused) {
  OptimizationOptions options;
  options.lr_scheduler = "polynomial_decay";
  options.budget = "tokens=100";
  options.max_update = 4;
  expect_error([&] { options.validate(); }, {"--budget tokens=100", "--max-update", "one of them"});
  options.max_update = 0;
  options.total_num_update = 4;
  expect_error([&] { options.validate(); }, {"--total-num-update"});
  options.lr_scheduler = "wsd";
  expect_error([&] { options.validate(); }, {"--total-num-update"});
  options.total_num_update.reset();
  options.lr_scheduler = "tri_stage";
  options.decay_steps = 10;
  expect_error([&] { options.validate(); }, {"--decay-steps"});
  options.total_num_update.reset();
  options.lr_scheduler = "cosine";
  options.lr_period_updates = 4;
  expect_error([&] { options.validate(); }, {"--lr-period-updates"});
  options.lr_period_updates = -1;
  options.validate();
}

}  // namespace
}  // namespace evomoe
