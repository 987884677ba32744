#include "evomoe/base/philox.h"

#include <gtest/gtest.h>

#include <set>

namespace evomoe {
namespace {

// Known answers of Random123's kat_vectors for philox4x32 with 10 rounds.
TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t f = 0xffffffff;
  EXPECT_EQ(philox4x32({f, f, f, f}, {f, f}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, UniformsStayStrictlyInsideTheUnitInterval) {
  EXPECT_GT(unit_open(0), 0.0F);
  EXPECT_LT(unit_open(0xffffffff), 1.0F);
  EXPECT_TRUE(std::isfinite(gumbel(0)));
  EXPECT_TRUE(std::isfinite(gumbel(0xffffffff)));
}

TEST(Philox, SeedLayerSiteUpdateSequenceAndPositionAllMatter) {
  std::set<PhiloxBlock> blocks;
  NoiseKey key;
  key.sequence_length = 8;
  const auto add = [&](const NoiseKey& k, uint64_t token) {
    blocks.insert(philox_row_block(k, philox_key(k), token, 0));
  };
  add(key, 0);
  add(key, 1);
  add(key, 8);
  auto other = key;
  other.seed = 2;
  add(other, 0);
  add(key.at(1, key.site), 0);
  add(key.at(0, NoiseSite::kGateGumbel), 0);
  other = key;
  other.update = 1;
  add(other, 0);
  EXPECT_EQ(blocks.size(), 7U);
}

TEST(Philox, ASequenceKeepsItsNumbersInAnyMicroBatch) {
  NoiseKey whole;
  whole.sequence_length = 16;
  NoiseKey second = whole;
  second.first_sequence = 3;
  EXPECT_EQ(philox_row_block(whole, philox_key(whole), 3 * 16 + 5, 2),
            philox_row_block(second, philox_key(second), 5, 2));
}

}  // namespace
}  // namespace evomoe
