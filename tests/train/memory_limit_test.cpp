#include "evomoe/train/memory_limit.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstdlib>

#include "evomoe/kernels/cpu/block_allocator.h"

namespace evomoe {
namespace {

constexpr int64_t kMebibyte = int64_t{1} << 20;

int64_t blocks() {
  const auto memory = kernels::block_memory();
  return memory.used + memory.kept;
}

torch::Tensor mebibytes(int64_t size) { return torch::empty({size * kMebibyte / 4}); }

/// In a process of its own, since an allocator stays.
[[noreturn]] void hold_blocks_of_varying_sizes() {
  kernels::use_block_allocator();
  int64_t most = 0;
  const auto run = [&] {
    most = 0;
    for (int64_t size = 10; size < 80; size += 7) {
      mebibytes(size);
      most = std::max(most, blocks());
    }
  };
  run();
  const bool all_kept = most > 300 * kMebibyte;
  kernels::release_kept_blocks();
  limit_block_memory(100 * kMebibyte);
  run();
  const bool limited = most <= 100 * kMebibyte;
  // What is kept and fits serves the next one, at the limit as well.
  kernels::release_kept_blocks();
  mebibytes(80).fill_(7);
  const bool kept = mebibytes(80)[0].item<float>() == 7;  // pages of the system are zero
  // Blocks in use are not refused.
  const auto large = mebibytes(150);
  const bool in_use = large.defined() && kernels::block_memory().kept == 0;
  std::exit(all_kept && limited && kept && in_use ? 0 : 1);
}

TEST(MemoryLimit, KeptBlocksGoBackToTheSystemBeforeTheyExceedIt) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(hold_blocks_of_varying_sizes(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace evomoe
