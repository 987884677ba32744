#include "evomoe/runtime/block_allocator.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace evomoe::kernels {
namespace {

constexpr int64_t kElements = 3 << 20;  // 12 MiB of floats

class BlockAllocatorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    use_block_allocator();
    release_kept_blocks();
  }
};

TEST_F(BlockAllocatorTest, ABlockIsKeptForTheNextTensorOfItsSize) {
  auto x = torch::ones({kElements});
  const void* data = x.const_data_ptr();
  const auto used = block_memory().used;
  EXPECT_GE(used, kElements * 4);
  x.reset();
  EXPECT_EQ(block_memory().used, used - block_memory().kept);
  EXPECT_GE(block_memory().kept, kElements * 4);
  const auto y = torch::empty({kElements - 1000});
  EXPECT_EQ(y.const_data_ptr(), data);
  EXPECT_EQ(block_memory().kept, 0);
}

TEST_F(BlockAllocatorTest, BlocksInUseAreNeverShared) {
  std::vector<torch::Tensor> tensors;
  for (int i = 0; i < 20; ++i) {
    tensors.push_back(torch::full({kElements / (1 + i % 4)}, static_cast<float>(i)));
    if (i % 3 == 0) tensors.erase(tensors.begin());
  }
  for (const auto& x : tensors) EXPECT_TRUE((x == x[0]).all().item<bool>());
}

TEST_F(BlockAllocatorTest, SmallTensorsAndViewsOfForeignMemoryAreNotItsBusiness) {
  const auto before = block_memory().used;
  std::vector<float> memory(kElements);
  const auto view = torch::from_blob(memory.data(), {kElements});
  const auto small = torch::ones({10});
  EXPECT_EQ(block_memory().used, before);
}

TEST_F(BlockAllocatorTest, WhatNobodyAsksForGoesBack) {
  torch::ones({kElements}).reset();
  EXPECT_GT(block_memory().kept, 0);
  for (int i = 0; i < 20000; ++i) torch::empty({1 << 19});
  EXPECT_LT(block_memory().kept, kElements * 4);
}

TEST_F(BlockAllocatorTest, KeptBlocksCanBeReleased) {
  torch::ones({kElements}).reset();
  release_kept_blocks();
  EXPECT_EQ(block_memory().kept, 0);
}

}  // namespace
}  // namespace evomoe::kernels
