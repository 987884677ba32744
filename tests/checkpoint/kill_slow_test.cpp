// A writer that is killed at any moment leaves a run folder from which training can go on.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <random>

#include "evomoe/checkpoint/checkpoint_manager.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

Checkpoint uniform(int64_t update) {
  Checkpoint checkpoint;
  checkpoint.state.updates = update;
  checkpoint.model["w"] = torch::full({1 << 16}, static_cast<double>(update));
  checkpoint.optimizer["w.exp_avg"] = torch::full({1 << 16}, static_cast<double>(update));
  return checkpoint;
}

/// Saves for ever; tells `channel` about each checkpoint that is complete.
[[noreturn]] void write_forever(const fs::path& folder, const CheckpointPolicy& policy,
                                int64_t update, int channel) {
  CheckpointManager manager(folder, policy);
  for (;; ++update) {
    manager.save({.epoch = 1,
                  .updates = update,
                  .interval = update % 3 != 0,
                  .metric = 1.0 / static_cast<double>(update)},
                 uniform(update));
    if (::write(channel, "x", 1) != 1) ::_exit(1);
  }
}

/// Every checkpoint under any name is whole. Returns the update of checkpoint_last.
int64_t check_folder(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (name.front() == '.') continue;
    const auto checkpoint = load_checkpoint(entry.path());
    const auto expected = uniform(checkpoint.state.updates);
    EXPECT_TRUE(torch::equal(checkpoint.model.at("w"), expected.model.at("w"))) << name;
    EXPECT_TRUE(
        torch::equal(checkpoint.optimizer.at("w.exp_avg"), expected.optimizer.at("w.exp_avg")))
        << name;
  }
  return read_state(folder / "checkpoint_last").updates;
}

class KilledWriter : public ::testing::TestWithParam<std::pair<bool, bool>> {};

TEST_P(KilledWriter, LeavesWholeCheckpointsAtAnyMoment) {
  const auto [symlink, asynchronous] = GetParam();
  const CheckpointPolicy policy = {.keep_interval_updates = 2,
                                   .keep_best_checkpoints = 2,
                                   .symlink = symlink,
                                   .asynchronous = asynchronous};
  torch::set_num_threads(1);
  testing::TemporaryFolder folder;
  std::mt19937 random(symlink ? 1 : 2);
  int64_t last = 0;
  for (int kill = 0; kill < 25; ++kill) {
    int channel[2];
    ASSERT_EQ(::pipe(channel), 0);
    const pid_t child = ::fork();
    if (child == 0) write_forever(folder.path(), policy, last + 1, channel[1]);
    ::close(channel[1]);
    // Two reports: at least one checkpoint is complete, also when writing is asynchronous. Then
    // some part of a save more.
    char byte = 0;
    for (int i = 0; i < 2; ++i) ASSERT_EQ(::read(channel[0], &byte, 1), 1);
    const auto end =
        std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 40'000);
    while (std::chrono::steady_clock::now() < end) {
    }
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    ::close(channel[0]);
    const int64_t update = check_folder(folder.path());
    EXPECT_GT(update, last);
    last = update;
  }
  CheckpointManager next(folder.path(), policy);  // gets the lock and clears the leftovers
  for (const auto& entry : fs::directory_iterator(folder.path())) {
    const auto name = entry.path().filename().string();
    EXPECT_TRUE(name.front() != '.' || name == ".lock") << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, KilledWriter,
                         ::testing::Values(std::pair(false, false), std::pair(true, false),
                                           std::pair(false, true), std::pair(true, true)));

}  // namespace
}  // namespace evomoe
