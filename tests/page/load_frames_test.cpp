#include "evomoe/page/load_frames.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace evomoe {
namespace {

using nlohmann::ordered_json;
using ::testing::ElementsAre;

ordered_json routers(const std::vector<int64_t>& load) {
  return {{{"layer", 1}, {"load", load}}, {{"layer", 3}, {"load", load}}};
}

TEST(LoadFrames, AreHundredthsOfAnEqualShare) {
  LoadFrames frames(1000);
  frames.add(5, routers({30, 10, 0, 0}));
  EXPECT_EQ(frames.json(), ordered_json::parse(R"({"layers": [1, 3], "updates": [5],
    "load": [[[300, 100, 0, 0], [300, 100, 0, 0]]]})"));
}

TEST(LoadFrames, AFewTokensAreNotNone) {
  LoadFrames frames(1000);
  frames.add(5, routers({100000, 1, 0}));
  EXPECT_EQ(frames.json().at("load")[0][0], ordered_json({300, 1, 0}));
}

TEST(LoadFrames, OneExpertAndLinesWithoutLoadsAreLeftOut) {
  LoadFrames frames(1000);
  frames.add(1, routers({8}));
  frames.add(2, ordered_json::parse(R"([{"layer": 1, "load_max": 3}])"));
  EXPECT_TRUE(frames.json().is_null());
  frames.add(3, routers({4, 4}));
  EXPECT_THAT(frames.json().at("updates"), ElementsAre(3));
}

TEST(LoadFrames, AreEvenlySpreadOverTheRunWithTheNewestAtTheEnd) {
  for (const int count : {1, 5, 6, 17, 100, 1001}) {
    LoadFrames frames(/*most_cells=*/6 * 4);  // six frames of 2 x 2
    for (int i = 0; i < count; ++i) frames.add(i, routers({i + 1, 1}));
    const auto updates = frames.json().at("updates").get<std::vector<int>>();
    ASSERT_LE(updates.size(), 6U) << count;
    EXPECT_GE(updates.size(), std::min<size_t>(static_cast<size_t>(count), 3)) << count;
    EXPECT_EQ(updates.front(), 0);
    EXPECT_EQ(updates.back(), count - 1);
    for (size_t i = 2; i + 1 < updates.size(); ++i)
      EXPECT_EQ(updates[i] - updates[i - 1], updates[1] - updates[0]) << count;
  }
}

}  // namespace
}  // namespace evomoe
