#include "evomoe/report/meters.h"

#include <gtest/gtest.h>

#include <cmath>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

/// A clock that goes when told.
struct HandClock {
  std::shared_ptr<double> now = std::make_shared<double>(100.0);
  Clock clock() const {
    return [time = now] { return *time; };
  }
};

TEST(AverageMeter, WeighsItsValues) {
  AverageMeter meter;
  EXPECT_TRUE(meter.empty());
  meter.update(1.0, 3);
  meter.update(5.0, 1);
  EXPECT_EQ(meter.value(), 2.0);
}

TEST(AverageMeter, WithoutWeightIsTheLastValue) {
  AverageMeter meter;
  meter.update(0.1, 0);
  meter.update(0.2, 0);
  EXPECT_EQ(meter.value(), 0.2);
  meter.reset();
  EXPECT_TRUE(meter.empty());
}

TEST(TimeMeter, IsAmountPerSecond) {
  HandClock hand;
  TimeMeter meter(hand.clock());
  meter.update(10);
  *hand.now += 4;
  EXPECT_EQ(meter.value(), 2.5);
  EXPECT_EQ(meter.elapsed(), 4);
}

TEST(TimeMeter, GoesOnAfterARestartWithoutTheTimeBetween) {
  HandClock hand;
  TimeMeter meter(hand.clock());
  *hand.now += 4;
  const auto state = meter.state();
  *hand.now += 1000;
  TimeMeter next(hand.clock());
  next.load(state);
  *hand.now += 1;
  EXPECT_EQ(next.elapsed(), 5);
}

TEST(StopwatchMeter, SumsWhatItMeasured) {
  HandClock hand;
  StopwatchMeter meter(hand.clock());
  meter.stop();  // was not running
  meter.start();
  *hand.now += 2;
  meter.stop();
  *hand.now += 7;
  meter.start();
  *hand.now += 3;
  meter.stop();
  EXPECT_EQ(meter.value(), 5);
}

TEST(MeterGroup, WritesByPriorityAndRounds) {
  MeterGroup group;
  group.scalar("lr", 0.00123456789, 0, 300);
  group.scalar("loss", 9.28449, 128, 10, 3);
  group.derived("ppl", "loss", perplexity, 20, 2);
  group.scalar("_hidden", 1, 1, 0);
  LogLine line(1);
  group.write(line);
  EXPECT_EQ(line.json_text(),
            R"({"epoch": 1, "loss": "9.284", "ppl": "623.61", "lr": "0.00123457"})");
  EXPECT_EQ(group.rounded("loss"), 9.284);
}

TEST(MeterGroup, TheFirstSpeedOnlyStartsTheTime) {
  HandClock hand;
  MeterGroup group(hand.clock());
  group.speed("wps", 1000, 90, 1);
  *hand.now += 2;
  group.speed("wps", 500, 90, 1);
  EXPECT_EQ(group.value("wps"), 250);
  group.reset();
  *hand.now += 1;
  group.speed("wps", 500, 90, 1);
  EXPECT_EQ(group.value("wps"), 500) << "after a reset everything counts";
}

TEST(MeterGroup, EmptyMetersAreNotWritten) {
  MeterGroup group;
  group.scalar("loss", 1, 1, 10);
  group.reset();
  LogLine line;
  group.write(line);
  EXPECT_EQ(line.json_text(), "{}");
}

TEST(MeterGroup, AMeanOfNothingIsNotWrittenNorWhatIsDerivedFromIt) {
  MeterGroup group;
  const auto log = [&](std::optional<double> loss, double weight) {
    group.scalar("loss", loss, weight, 10);
    group.derived("ppl", "loss", perplexity, 20, 2);
  };
  const auto text = [&] {
    LogLine line;
    group.write(line);
    return line.json_text();
  };
  log(std::nullopt, 0);
  EXPECT_TRUE(group.has("loss"));
  EXPECT_FALSE(group.is_known("loss"));
  EXPECT_FALSE(group.is_known("ppl"));
  EXPECT_FALSE(group.is_known("accuracy"));
  EXPECT_EQ(text(), "{}");
  log(3.0, 2);
  log(std::nullopt, 0);
  EXPECT_TRUE(group.is_known("ppl"));
  EXPECT_EQ(text(), R"({"loss": "3", "ppl": "8"})");
}

TEST(MeterGroup, ASpeedWithoutTimeIsNotWritten) {
  HandClock hand;
  MeterGroup group(hand.clock());
  group.speed("wps", 1000, 90, 1);
  group.speed("wps", 1000, 90, 1);
  LogLine line;
  group.write(line);
  EXPECT_EQ(line.json_text(), "{}");
}

TEST(MeterGroup, UnknownAndMisusedKeysAreErrors) {
  MeterGroup group;
  group.scalar("loss", 1, 1, 10);
  EXPECT_THROW(group.value("accuracy"), Error);
  EXPECT_THROW(group.speed("loss", 1, 10), Error);
  EXPECT_THROW(group.stop_time("train_wall"), Error);
}

TEST(Metrics, OpenGroupsAllGetWhatIsLogged) {
  Metrics metrics;
  const auto log = [&](double loss) {
    metrics.log([&](MeterGroup& group) { group.scalar("loss", loss, 1, 10); });
  };
  const auto epoch = metrics.aggregate("train");
  for (const double loss : {1.0, 3.0}) {
    const auto inner = metrics.aggregate("train_inner");
    log(loss);
  }
  metrics.group("train_inner").reset();
  {
    const auto inner = metrics.aggregate("train_inner");
    log(5.0);
  }
  EXPECT_EQ(metrics.group("train").value("loss"), 3.0);
  EXPECT_EQ(metrics.group("train_inner").value("loss"), 5.0);
}

TEST(Metrics, AnIsolatedGroupHidesTheOthers) {
  Metrics metrics;
  const auto epoch = metrics.aggregate("train");
  {
    const auto valid = metrics.aggregate("valid", /*isolated=*/true);
    metrics.log([](MeterGroup& group) { group.scalar("loss", 7, 1, 10); });
  }
  EXPECT_TRUE(metrics.group("valid").has("loss"));
  EXPECT_FALSE(metrics.group("train").has("loss"));
}

TEST(Metrics, AGroupOpenedTwiceCountsOnce) {
  Metrics metrics;
  const auto outer = metrics.aggregate("train");
  const auto inner = metrics.aggregate("train");
  metrics.log([](MeterGroup& group) { group.sum("tokens", 2, 10); });
  EXPECT_EQ(metrics.group("train").value("tokens"), 2);
}

TEST(Metrics, StateIsRestoredExactly) {
  HandClock hand;
  Metrics metrics(hand.clock());
  auto& group = metrics.group("train");
  group.scalar("loss", 1.0 / 3, 7, 10, 3);
  group.sum("tokens", 5, 20);
  group.start_time("train_wall", 800, 0);
  *hand.now += 2;
  group.stop_time("train_wall");
  group.speed("wps", 1, 90, 1);
  const auto state = nlohmann::json::parse(metrics.state().dump());

  Metrics next(hand.clock());
  next.group("train").derived("ppl", "loss", perplexity, 20, 2);
  next.load(state);
  EXPECT_EQ(next.group("train").value("loss"), group.value("loss"));
  EXPECT_EQ(next.group("train").value("train_wall"), 2);
  EXPECT_EQ(next.state(), state);
  EXPECT_TRUE(next.group("train").has("ppl"));
  EXPECT_THROW(
      next.load(
          {{"train",
            {{{"key", "x"}, {"kind", "odd"}, {"priority", 1}, {"digits", 1}, {"state", {}}}}}}),
      Error);
}

TEST(Metrics, WhatIsNotFiniteIsRestoredFromItsJson) {
  Metrics metrics;
  auto& group = metrics.group("train");
  group.scalar("loss", std::nan(""), 1, 10);
  group.sum("tokens", std::nan(""), 20);
  Metrics next;
  next.load(nlohmann::json::parse(metrics.state().dump()));
  EXPECT_TRUE(std::isnan(next.group("train").value("loss")));
  EXPECT_TRUE(std::isnan(next.group("train").value("tokens")));
}

TEST(Perplexity, IsTwoToTheLossRoundedAndOverflowsToInfinity) {
  EXPECT_EQ(perplexity(1.5), 2.83);
  EXPECT_TRUE(std::isinf(perplexity(5000)));
}

}  // namespace
}  // namespace evomoe
