// Checkpoints that ranks write together, each its pieces.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "evomoe/base/error.h"
#include "evomoe/checkpoint/checkpoint.h"
#include "evomoe/checkpoint/checkpoint_manager.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/ranks.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using testing::on_ranks;
using Ranks = std::shared_ptr<Communicator>;

constexpr int kWriters = 3;

torch::Tensor stack_of_experts(int64_t number) {
  return torch::arange(5 * 4, torch::kFloat).view({5, 4}) + number;
}

/// What a rank holds: rank 0 all that is whole, and each some of five experts.
Checkpoint part_of(int rank, int64_t number) {
  Checkpoint part;
  part.state.updates = number;
  if (rank == 0) {
    part.model["embed"] = torch::full({2, 3}, number);
    part.optimizer["embed.step"] = torch::tensor(number);
  }
  const std::vector<int64_t> begins = {0, 2, 3, 5};
  const auto begin = begins[static_cast<size_t>(rank)], end = begins[static_cast<size_t>(rank) + 1];
  part.model["experts.w1"] = stack_of_experts(number).slice(0, begin, end);
  part.pieces["experts.w1"] = {{5, 4}, begin * 4, end * 4};
  part.optimizer["experts.w1.exp_avg"] = stack_of_experts(-number).slice(0, begin, end);
  part.pieces["experts.w1.exp_avg"] = part.pieces["experts.w1"];
  return part;
}

class RankCheckpoint : public ::testing::Test {
 protected:
  void SetUp() override { EVOMOE_NEEDS_RANKS(); }

  void write(const fs::path& path, int64_t number) const {
    on_ranks(kWriters, [&](const Ranks& ranks) {
      write_checkpoint(path, part_of(ranks->rank(), number), *ranks);
    });
  }

  testing::TemporaryFolder folder_;
};

TEST_F(RankCheckpoint, IsReadAsOneWhole) {
  write(folder_ / "c", 7);
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(folder_ / "c"))
    files.push_back(entry.path().filename().string());
  EXPECT_THAT(files, ::testing::UnorderedElementsAre(
                         "manifest.json", "model.safetensors", "model.rank-1.safetensors",
                         "model.rank-2.safetensors", "optimizer.safetensors",
                         "optimizer.rank-1.safetensors", "optimizer.rank-2.safetensors"));
  const auto whole = load_checkpoint(folder_ / "c");
  EXPECT_EQ(whole.state.updates, 7);
  EXPECT_TRUE(whole.pieces.empty());
  EXPECT_EQ(whole.model.size(), 2U);
  EXPECT_TRUE(torch::equal(whole.model.at("experts.w1"), stack_of_experts(7)));
  EXPECT_TRUE(torch::equal(whole.model.at("embed"), torch::full({2, 3}, 7)));
  EXPECT_TRUE(torch::equal(whole.optimizer.at("experts.w1.exp_avg"), stack_of_experts(-7)));
  EXPECT_TRUE(load_checkpoint(folder_ / "c", /*with_optimizer=*/false).optimizer.empty());
}

TEST_F(RankCheckpoint, TakesThePlaceOfAnotherOneWhole) {
  write(folder_ / "c", 7);
  write(folder_ / "c", 8);
  EXPECT_TRUE(
      torch::equal(load_checkpoint(folder_ / "c").model.at("experts.w1"), stack_of_experts(8)));
  write_checkpoint(folder_ / "c", load_checkpoint(folder_ / "c"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "c"), {}), 3);
  EXPECT_TRUE(
      torch::equal(load_checkpoint(folder_ / "c").model.at("experts.w1"), stack_of_experts(8)));
}

TEST_F(RankCheckpoint, AMissingFileOrOneOfAnotherSaveIsRefusedByName) {
  write(folder_ / "c", 7);
  write(folder_ / "d", 8);
  const auto file = folder_ / "c/model.rank-1.safetensors";
  fs::copy_file(folder_ / "d/model.rank-1.safetensors", file, fs::copy_options::overwrite_existing);
  expect_error([&] { load_checkpoint(folder_ / "c"); }, {"model.rank-1.safetensors", "checksum"});
  fs::remove(file);
  expect_error([&] { load_checkpoint(folder_ / "c"); }, {"model.rank-1.safetensors"});
}

TEST_F(RankCheckpoint, PiecesThatLeaveAGapAreRefused) {
  on_ranks(2, [&](const Ranks& ranks) {
    write_checkpoint(folder_ / "c", part_of(2 * ranks->rank(), 1), *ranks);
  });
  expect_error([&] { load_checkpoint(folder_ / "c"); }, {"experts.w1", "12 to 20"});
  on_ranks(2, [&](const Ranks& ranks) {
    write_checkpoint(folder_ / "d", part_of(ranks->rank(), 1), *ranks);
  });
  expect_error([&] { load_checkpoint(folder_ / "d"); }, {"experts.w1", "elements 12 to 20"});
}

TEST_F(RankCheckpoint, ARankThatCannotWriteEndsItForAllAndTheOldOneStays) {
  write(folder_ / "c", 7);
  const auto errors = on_ranks(kWriters, [&](const Ranks& ranks) -> std::string {
    auto part = part_of(ranks->rank(), 8);
    if (ranks->rank() == 1) part.model["bad"] = torch::zeros({1}, torch::kComplexDouble);
    try {
      write_checkpoint(folder_ / "c", part, *ranks);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  });
  EXPECT_THAT(errors[1], ::testing::HasSubstr("bad"));
  for (const int other : {0, 2})
    EXPECT_THAT(errors[other], ::testing::HasSubstr("rank 1 could not write its part of"));
  EXPECT_EQ(load_checkpoint(folder_ / "c").state.updates, 7);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 1) << "nothing is left over";
}

TEST_F(RankCheckpoint, ManagersOfAllRanksSaveTogether) {
  for (const bool asynchronous : {false, true}) {
    SCOPED_TRACE(asynchronous);
    const auto run = folder_ / (asynchronous ? "a" : "s");
    on_ranks(kWriters, [&](const Ranks& ranks) {
      CheckpointManager manager(run, {.keep_interval_updates = 2, .asynchronous = asynchronous},
                                ranks);
      for (int64_t updates = 10; updates <= 40; updates += 10) {
        manager.save({.updates = updates, .interval = true, .metric = 100.0 - updates},
                     part_of(ranks->rank(), updates));
        manager.wait_for_copy();
      }
      manager.finish();
    });
    EXPECT_THAT(checkpoint_names(run),
                ::testing::UnorderedElementsAre("checkpoint_1_30", "checkpoint_1_40",
                                                "checkpoint_best", "checkpoint_last"));
    for (const auto* name : {"checkpoint_last", "checkpoint_best", "checkpoint_1_40"}) {
      EXPECT_TRUE(
          torch::equal(load_checkpoint(run / name).model.at("experts.w1"), stack_of_experts(40)));
    }
  }
}

TEST_F(RankCheckpoint, WhereNoNameAppliesNothingIsWritten) {
  on_ranks(2, [&](const Ranks& ranks) {
    CheckpointManager manager(folder_ / "run", {.no_last_checkpoints = true}, ranks);
    manager.save({.updates = 10}, part_of(ranks->rank(), 10));
    manager.finish();
  });
  EXPECT_TRUE(checkpoint_names(folder_ / "run").empty());
}

}  // namespace
}  // namespace evomoe
