#include "evomoe/runtime/resident_memory.h"

#include <gtest/gtest.h>

#include <vector>

namespace evomoe {
namespace {

TEST(ResidentMemory, ThePeakKeepsWhatIsGoneUntilItIsForgotten) {
  constexpr int64_t kMebibyte = int64_t{1} << 20;
  const auto before = resident_memory();
  {
    std::vector<char> touched(64 * kMebibyte);
    volatile char* memory = touched.data();
    for (int64_t i = 0; i < 64 * kMebibyte; i += 4096) memory[i] = 1;
  }
  EXPECT_GE(peak_resident_memory(), before + 60 * kMebibyte);
  forget_peak_resident_memory();
  EXPECT_LE(peak_resident_memory(), before + 32 * kMebibyte);
  const auto now = resident_memory();  // first, as reading it takes some
  EXPECT_GE(peak_resident_memory(), now);
}

}  // namespace
}  // namespace evomoe
