#include "evomoe/runtime/memory_limit.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstdlib>
#include <vector>

#include "evomoe/runtime/block_allocator.h"
#include "evomoe/runtime/resident_memory.h"
#include "tests/testing/sanitizer.h"

namespace evomoe {
namespace {

constexpr int64_t kMebibyte = int64_t{1} << 20;

int64_t blocks() {
  const auto memory = kernels::block_memory();
  return memory.used + memory.kept;
}

torch::Tensor mebibytes(int64_t size) { return torch::empty({size * kMebibyte / 4}); }

/// What is held when a block of 40 MiB fits into none of ten gaps of 30 MiB.
int64_t hold_a_block_beside_gaps() {
  std::vector<torch::Tensor> freed, between;
  for (int i = 0; i < 10; ++i) {
    freed.push_back(mebibytes(30));
    between.push_back(mebibytes(1));
  }
  freed.clear();
  const auto other = mebibytes(40);
  return blocks();
}

/// In a process of its own, since an allocator stays.
[[noreturn]] void hold_blocks_beyond_a_limit() {
  kernels::use_block_allocator();
  const bool all_kept = hold_a_block_beside_gaps() > 300 * kMebibyte;
  kernels::release_kept_blocks();
  limit_block_memory(200 * kMebibyte);
  const bool limited = hold_a_block_beside_gaps() <= 200 * kMebibyte;
  // What is kept and fits serves the next one, at the limit as well.
  kernels::release_kept_blocks();
  mebibytes(180).fill_(7);
  const bool kept = mebibytes(180)[0].item<float>() == 7;  // pages of the system are zero
  // Blocks in use are not refused, and what is kept beside them goes.
  auto before = mebibytes(180);
  const auto behind = mebibytes(1);
  before = torch::Tensor();
  const auto large = mebibytes(250);
  const bool in_use = large.defined() && kernels::block_memory().kept == 0;
  std::exit(all_kept && limited && kept && in_use ? 0 : 1);
}

/// A gap of which a part was given back, and then a block in its other part.
[[noreturn]] void use_a_gap_that_is_partly_memory() {
  kernels::use_block_allocator();
  const auto program = resident_memory();
  auto first = mebibytes(100).fill_(1), second = mebibytes(100).fill_(1);
  const auto behind = mebibytes(1).fill_(1);
  first = torch::Tensor();
  kernels::release_kept_blocks();
  second = torch::Tensor();
  const auto again = mebibytes(100).fill_(1);
  // What the allocator says is held is what the process has, but for tables of pages and the like.
  const auto held = resident_memory() - program;
  std::exit(std::abs(held - blocks()) < 16 * kMebibyte ? 0 : 1);
}

TEST(MemoryLimit, TheBooksAreRightAboutGapsOfWhichAPartWasGivenBack) {
  if (testing::kAddressSanitizer) GTEST_SKIP() << "AddressSanitizer's shadow is resident too";
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(use_a_gap_that_is_partly_memory(), ::testing::ExitedWithCode(0), "");
}

TEST(MemoryLimit, KeptBlocksGoBackToTheSystemBeforeTheyExceedIt) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(hold_blocks_beyond_a_limit(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace evomoe
