#include "evomoe/legacy/legacy_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

/// The flag of this name in the table, which has it.
LegacyFlag flag_of(const OptionTable& table, const std::string& name) {
  const auto found = std::ranges::find(table.legacy_flags(), name, &LegacyFlag::name);
  EXPECT_NE(found, table.legacy_flags().end()) << name;
  return found == table.legacy_flags().end() ? LegacyFlag() : *found;
}

TEST(LegacyFlags, ACommandHasItsOwnAndLeavesOutWhatItHasAlready) {
  OptionTable table("train", "");
  int64_t seed = 1;
  table.add("seed", &seed, "");
  add_legacy_flags(table, "train");
  EXPECT_EQ(std::ranges::count(table.legacy_flags(), "seed", &LegacyFlag::name), 0);
  const auto world = flag_of(table, "distributed-world-size");
  EXPECT_TRUE(world.takes_value);
  EXPECT_EQ(world.harmless, (std::vector<std::string>{"1"}));
  EXPECT_FALSE(world.refused);
  EXPECT_TRUE(flag_of(table, "use-bmuf").refused);
  EXPECT_THAT(flag_of(table, "fp16").note, HasSubstr("--on-non-finite")) << "the first set wins";
}

TEST(LegacyFlags, AnEvaluationIgnoresWhatOnlyTrainingUsesAndSaysWhy) {
  OptionTable train("train", "");
  double rate = 1, dropout = 0;
  int64_t sample = 1;
  std::string init;
  train.group("task");
  train.add("tokens-per-sample", &sample, "").alias("sample");
  train.group("checkpoint");
  train.add("init-from", &init, "");
  train.group("optimization");
  train.add("lr-shrink", &rate, "");
  train.add("dropout", &dropout, "");
  train.legacy({"of-train", true, {"1"}, "only 1", true});
  OptionTable table("generate", "");
  add_legacy_flags(table, "generate", train);
  EXPECT_EQ(flag_of(table, "sample").note, "the checkpoint says it");
  EXPECT_EQ(flag_of(table, "lr-shrink").note, "it is for training");
  EXPECT_FALSE(flag_of(table, "of-train").refused);
  EXPECT_FALSE(table.knows("dropout")) << "the reference's other programs do not have it";
  EXPECT_FALSE(table.knows("init-from")) << "it is ours";
}

}  // namespace
}  // namespace evomoe
