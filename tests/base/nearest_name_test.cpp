#include "evomoe/base/nearest_name.h"

#include <gtest/gtest.h>

namespace evomoe {
namespace {

const std::vector<std::string> kNames = {"max-update", "max-tokens", "max-temperature", "lr",
                                         "update-freq"};

TEST(NearestName, FindsMissingWrongAndSwappedLetters) {
  EXPECT_EQ(nearest_name("max-updates", kNames), "max-update");
  EXPECT_EQ(nearest_name("max-token", kNames), "max-tokens");
  EXPECT_EQ(nearest_name("udpate-freq", kNames), "update-freq");
}

TEST(NearestName, PrefersANameThatTheTextBegins) {
  EXPECT_EQ(nearest_name("max-temp", kNames), "max-temperature");
}

TEST(NearestName, IsEmptyWhenNothingIsNear) {
  EXPECT_EQ(nearest_name("wandb-project", kNames), "");
  EXPECT_EQ(nearest_name("q", kNames), "");
  EXPECT_EQ(nearest_name("x", {}), "");
}

}  // namespace
}  // namespace evomoe
