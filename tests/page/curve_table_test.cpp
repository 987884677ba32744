#include "evomoe/page/curve_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace evomoe {
namespace {

using Join = CurveTable::Join;

RunPlace place(int64_t update) {
  RunPlace place;
  place.updates = update;
  return place;
}

TEST(CurveTable, HoldsEachLineOfAShortLog) {
  CurveTable table({{"loss"}}, 4);
  for (int i = 1; i <= 8; ++i) table.add(place(i), {10.0 - i});
  EXPECT_EQ(table.rows(), 8U);
  EXPECT_EQ(table.lines_per_row(), 1);
  EXPECT_EQ(table.value(7, "loss"), 2);
}

TEST(CurveTable, KeepsMeansAndExtremesOfALongLog) {
  CurveTable table({{"mean"}, {"least", Join::kLeast}, {"most", Join::kMost}}, 4);
  const int lines = 1000;
  double sum = 0;
  for (int i = 1; i <= lines; ++i) {
    const double value = i == 500 ? 9999 : i % 10;  // one peak
    sum += value;
    table.add(place(i), {value, value, value});
  }
  EXPECT_LE(table.rows(), 8U);
  double weighted = 0, most = 0, least = 1e9;
  int64_t before = 0;
  for (size_t row = 0; row < table.rows(); ++row) {
    const auto updates = table.place(row).updates;
    weighted += table.value(row, "mean") * static_cast<double>(updates - before);
    before = updates;
    most = std::max(most, table.value(row, "most"));
    least = std::min(least, table.value(row, "least"));
  }
  EXPECT_EQ(before, lines) << "the last line is there";
  EXPECT_NEAR(weighted, sum, 1e-6);
  EXPECT_EQ(most, 9999);
  EXPECT_EQ(least, 0);
}

TEST(CurveTable, WhatIsNoNumberIsNoValue) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CurveTable table({{"loss"}, {"zero"}, {"absent"}}, 1);
  for (int i = 1; i <= 8; ++i) table.add(place(i), {i % 2 == 0 ? nan : 4, 0, nan});
  EXPECT_EQ(table.value(0, "loss"), 4) << "a mean of those that are there";
  const auto json = table.json();
  EXPECT_TRUE(json.contains("loss"));
  EXPECT_FALSE(json.contains("zero")) << "there is nothing to draw";
  EXPECT_FALSE(json.contains("absent"));
  EXPECT_EQ(json.at("updates").size(), table.rows());
}

TEST(ShortNumber, HasFiveDigits) {
  EXPECT_EQ(short_number(1.23456789), 1.2346);
  EXPECT_EQ(short_number(123456789), 123460000);
  EXPECT_TRUE(std::isnan(short_number(std::numeric_limits<double>::infinity())));
}

}  // namespace
}  // namespace evomoe
