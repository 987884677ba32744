#include "evomoe/checkpoint/checkpoint_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <set>

#include "evomoe/base/error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using ::testing::UnorderedElementsAre;

Checkpoint marked(int64_t update) {
  Checkpoint checkpoint;
  checkpoint.state.updates = update;
  checkpoint.model["w"] = torch::full({4}, static_cast<double>(update));
  checkpoint.optimizer["w.step"] = torch::tensor(update);
  return checkpoint;
}

int64_t update_of(const fs::path& path) {
  const auto checkpoint = load_checkpoint(path);
  const auto update = checkpoint.state.updates;
  EXPECT_EQ(checkpoint.model.at("w")[0].item<float>(), static_cast<float>(update));
  return update;
}

/// The checkpoints of a run folder; nothing else but the lock may be there.
std::set<std::string> names(const fs::path& folder) {
  std::set<std::string> result;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename() != ".lock") result.insert(entry.path().filename().string());
  }
  return result;
}

SaveRequest interval(int64_t epoch, int64_t updates, std::optional<double> metric = {}) {
  return {.epoch = epoch, .updates = updates, .interval = true, .metric = metric};
}

SaveRequest epoch_end(int64_t epoch, int64_t updates, std::optional<double> metric = {}) {
  return {.epoch = epoch, .updates = updates, .end_of_epoch = true, .metric = metric};
}

TEST(CheckpointManager, WritesFairseqsNames) {
  testing::TemporaryFolder folder;
  CheckpointManager manager(folder.path(), {.keep_best_checkpoints = 2});
  manager.save(interval(1, 10, 3.456), marked(10));
  EXPECT_THAT(names(folder.path()),
              UnorderedElementsAre("checkpoint_1_10", "checkpoint.best_loss_3.46",
                                   "checkpoint_best", "checkpoint_last"));
  manager.save(epoch_end(1, 20, 5.0), marked(20));
  EXPECT_THAT(
      names(folder.path()),
      UnorderedElementsAre("checkpoint_1_10", "checkpoint1", "checkpoint.best_loss_3.46",
                           "checkpoint.best_loss_5.00", "checkpoint_best", "checkpoint_last"));
  EXPECT_EQ(update_of(folder / "checkpoint_best"), 10);
  EXPECT_EQ(update_of(folder / "checkpoint_last"), 20);
  EXPECT_EQ(update_of(folder / "checkpoint1"), 20);
  EXPECT_EQ(manager.best(), 3.456);
  const auto saved = read_state(folder / "checkpoint_last").saved.value();
  EXPECT_EQ(saved.moment, (SaveRecord::Moment{.epoch = 1, .updates = 20, .end_of_epoch = true}));
  EXPECT_EQ(saved.metric, 5.0);
  EXPECT_EQ(saved.best, 3.456);
}

TEST(CheckpointManager, FlagsLeaveNamesOut) {
  testing::TemporaryFolder folder;
  CheckpointManager manager(folder / "a",
                            {.no_epoch_checkpoints = true, .no_save_optimizer_state = true});
  manager.save(epoch_end(1, 5), marked(5));
  EXPECT_THAT(names(folder / "a"), UnorderedElementsAre("checkpoint_last"));
  EXPECT_TRUE(load_checkpoint(folder / "a/checkpoint_last").optimizer.empty());
  CheckpointManager no_last(folder / "b", {.no_last_checkpoints = true});
  no_last.save({.epoch = 1, .updates = 3}, marked(3));
  EXPECT_TRUE(names(folder / "b").empty());
  CheckpointManager no_best(folder / "d",
                            {.keep_best_checkpoints = 2, .no_best_checkpoints = true});
  no_best.save({.epoch = 1, .updates = 3, .metric = 1.0}, marked(3));
  EXPECT_THAT(names(folder / "d"), UnorderedElementsAre("checkpoint_last"));
  EXPECT_EQ(no_best.best(), 1.0);
  CheckpointManager none(folder / "c", {.no_save = true});
  none.save(epoch_end(1, 5, 1.0), marked(5));
  EXPECT_EQ(none.best(), 1.0);
  EXPECT_FALSE(fs::exists(folder / "c"));
}

TEST(CheckpointManager, TheOptimizerMayBeLeftOutOfTheLastCheckpointAlone) {
  testing::TemporaryFolder folder;
  CheckpointManager manager(folder.path(), {.no_save_optimizer_state_on_training_finished = true});
  manager.save({.epoch = 1, .updates = 3}, marked(3));
  EXPECT_FALSE(load_checkpoint(folder / "checkpoint_last").optimizer.empty());
  manager.save({.epoch = 1, .updates = 4, .last = true}, marked(4));
  EXPECT_FALSE(load_checkpoint(folder / "checkpoint_last").optimizer.empty())
      << "a signal ended it";
  manager.save({.epoch = 1, .updates = 5, .last = true, .training_finished = true}, marked(5));
  EXPECT_TRUE(load_checkpoint(folder / "checkpoint_last").optimizer.empty());
}

TEST(CheckpointManager, LinksAreRelativeSoThatTheRunFolderCanBeMoved) {
  testing::TemporaryFolder folder;
  {
    CheckpointManager manager(folder / "run", {.symlink = true});
    manager.save(interval(1, 10, 2.0), marked(10));
  }
  EXPECT_EQ(fs::read_symlink(folder / "run" / "checkpoint_last"), "checkpoint_1_10");
  EXPECT_EQ(fs::read_symlink(folder / "run" / "checkpoint_best"), "checkpoint_1_10");
  EXPECT_FALSE(fs::is_symlink(folder / "run" / "checkpoint_1_10"));
  fs::rename(folder / "run", folder / "moved");
  EXPECT_EQ(update_of(folder / "moved" / "checkpoint_best"), 10);
}

TEST(CheckpointManager, CopiesAreIndependentOfEachOther) {
  testing::TemporaryFolder folder;
  CheckpointManager manager(folder.path(), {});
  manager.save(interval(1, 10), marked(10));
  fs::remove_all(folder / "checkpoint_1_10");
  EXPECT_FALSE(fs::is_symlink(folder / "checkpoint_last"));
  EXPECT_EQ(update_of(folder / "checkpoint_last"), 10);
}

TEST(CheckpointManager, KeepsTheNewestByTheRules) {
  testing::TemporaryFolder folder;
  CheckpointManager manager(folder.path(), {.keep_interval_updates = 2, .keep_last_epochs = 1});
  for (const int64_t update : {8, 9, 10, 11}) manager.save(interval(1, update), marked(update));
  manager.save(epoch_end(9, 12), marked(12));
  manager.save(epoch_end(10, 13), marked(13));
  EXPECT_THAT(names(folder.path()), UnorderedElementsAre("checkpoint_1_10", "checkpoint_1_11",
                                                         "checkpoint10", "checkpoint_last"));
}

/// Makes the checkpoints of a folder as old as those of an earlier run (or, negative, newer than
/// now).
void age(const fs::path& folder, std::chrono::hours by = std::chrono::hours(1)) {
  for (const auto& name : names(folder)) {
    fs::last_write_time(manifest_path(folder / name), fs::file_time_type::clock::now() - by);
  }
}

TEST(CheckpointManager, EpochsOfAnEarlierRunGoFirstWhateverTheirNumbers) {
  for (const bool no_last : {false, true}) {
    testing::TemporaryFolder folder;
    const CheckpointPolicy policy = {.keep_last_epochs = 1, .no_last_checkpoints = no_last};
    { CheckpointManager(folder.path(), policy).save(epoch_end(4, 40), marked(40)); }
    age(folder.path());
    CheckpointManager manager(folder.path(), policy);
    std::set<std::string> expected = {"checkpoint1"};
    if (!no_last) expected.insert("checkpoint_last");
    manager.save(epoch_end(1, 50), marked(50));
    EXPECT_EQ(names(folder.path()), expected);
    EXPECT_EQ(update_of(folder / "checkpoint1"), 50);
    age(folder.path());
    manager.save(epoch_end(2, 60), marked(60));
    expected.extract("checkpoint1");
    expected.insert("checkpoint2");
    EXPECT_EQ(names(folder.path()), expected);
  }
}

TEST(CheckpointManager, IntervalsOfAnEarlierRunGoFirstWhateverTheirNumbers) {
  testing::TemporaryFolder folder;
  const CheckpointPolicy policy = {.keep_interval_updates = 2, .no_last_checkpoints = true};
  {
    CheckpointManager manager(folder.path(), policy);
    manager.save(interval(2, 30), marked(30));
    manager.save(interval(2, 40), marked(40));
  }
  age(folder.path());
  CheckpointManager manager(folder.path(), policy);
  manager.save(interval(1, 10), marked(110));
  EXPECT_THAT(names(folder.path()), UnorderedElementsAre("checkpoint_2_40", "checkpoint_1_10"));
  manager.save(interval(1, 20), marked(120));
  EXPECT_THAT(names(folder.path()), UnorderedElementsAre("checkpoint_1_10", "checkpoint_1_20"));
}

TEST(CheckpointManager, KeepsWhatItHasJustWrittenEvenWhenTheClockWasSetBack) {
  testing::TemporaryFolder folder;
  const CheckpointPolicy policy = {.keep_interval_updates = 1, .keep_last_epochs = 1};
  {
    CheckpointManager manager(folder.path(), policy);
    manager.save(epoch_end(4, 40), marked(40));
    manager.save(interval(5, 50), marked(50));
  }
  age(folder.path(), -std::chrono::hours(1));
  CheckpointManager manager(folder.path(), policy);
  manager.save(interval(1, 10), marked(110));
  manager.save(epoch_end(1, 20), marked(120));
  EXPECT_THAT(names(folder.path()),
              UnorderedElementsAre("checkpoint1", "checkpoint_1_10", "checkpoint_last"));
}

TEST(CheckpointManager, NeverDeletesTheTargetOfALink) {
  testing::TemporaryFolder folder;
  CheckpointManager manager(folder.path(), {.keep_interval_updates = 1, .symlink = true});
  manager.save(interval(1, 10, 1.0), marked(10));
  manager.save(interval(1, 20, 2.0), marked(20));
  manager.save(interval(1, 30, 3.0), marked(30));
  EXPECT_THAT(names(folder.path()), UnorderedElementsAre("checkpoint_1_10", "checkpoint_1_30",
                                                         "checkpoint_best", "checkpoint_last"));
  EXPECT_EQ(update_of(folder / "checkpoint_best"), 10);
  manager.save(interval(1, 40, 0.5), marked(40));
  EXPECT_THAT(names(folder.path()),
              UnorderedElementsAre("checkpoint_1_40", "checkpoint_best", "checkpoint_last"));
  EXPECT_EQ(update_of(folder / "checkpoint_best"), 40);
}

TEST(CheckpointManager, KeepsTheBestByTheirExactValues) {
  for (const bool symlink : {false, true}) {
    testing::TemporaryFolder folder;
    CheckpointManager manager(
        folder.path(),
        {.keep_best_checkpoints = 2, .symlink = symlink, .no_epoch_checkpoints = true});
    const std::vector<double> values = {3.0, 2.001, 9.0, 2.004, 1.0, -0.5};
    int64_t update = 0;
    for (const double value : values) {
      ++update;
      manager.save(epoch_end(1, update, value), marked(update));
    }
    EXPECT_THAT(names(folder.path()),
                UnorderedElementsAre("checkpoint.best_loss_-0.50", "checkpoint.best_loss_1.00",
                                     "checkpoint_best", "checkpoint_last"));
    EXPECT_EQ(update_of(folder / "checkpoint.best_loss_1.00"), 5);
    EXPECT_EQ(update_of(folder / "checkpoint_best"), 6);
    EXPECT_EQ(update_of(folder / "checkpoint_last"), 6);
  }
}

TEST(CheckpointManager, AWorseValueDoesNotReplaceOneOfTheSameName) {
  testing::TemporaryFolder folder;
  CheckpointManager manager(folder.path(), {.keep_best_checkpoints = 2, .symlink = true});
  manager.save(epoch_end(1, 1, 2.001), marked(1));
  manager.save(epoch_end(2, 2, 2.004), marked(2));
  EXPECT_EQ(update_of(folder / "checkpoint.best_loss_2.00"), 1);
  manager.save(epoch_end(3, 3, 1.999), marked(3));
  EXPECT_EQ(update_of(folder / "checkpoint.best_loss_2.00"), 3);
  EXPECT_EQ(update_of(folder / "checkpoint_best"), 3);
}

TEST(CheckpointManager, MaximisesAndTakesTiesButNoNaN) {
  testing::TemporaryFolder folder;
  CheckpointManager manager(folder.path(), {.best_metric = "bleu", .maximize_best = true});
  manager.save(epoch_end(1, 1, 10.0), marked(1));
  manager.save(epoch_end(2, 2, NAN), marked(2));
  manager.save(epoch_end(3, 3, 9.0), marked(3));
  EXPECT_EQ(update_of(folder / "checkpoint_best"), 1);
  manager.save(epoch_end(4, 4, 10.0), marked(4));
  EXPECT_EQ(update_of(folder / "checkpoint_best"), 4);
}

TEST(CheckpointManager, AResumedRunKnowsItsBest) {
  testing::TemporaryFolder folder;
  { CheckpointManager(folder.path(), {}).save(epoch_end(1, 1, 1.5), marked(1)); }
  CheckpointManager manager(folder.path(), {});
  manager.restore(read_state(folder / "checkpoint_last"));
  EXPECT_EQ(manager.best(), 1.5);
  manager.save(epoch_end(2, 2, 1.6), marked(2));
  EXPECT_EQ(update_of(folder / "checkpoint_best"), 1);
}

TEST(CheckpointManager, ABestValueOfAnotherMetricIsIgnored) {
  testing::TemporaryFolder folder;
  { CheckpointManager(folder.path(), {}).save(epoch_end(1, 1, 1.5), marked(1)); }
  CheckpointManager manager(folder.path(), {.best_metric = "ppl"});
  manager.restore(read_state(folder / "checkpoint_last"));
  EXPECT_FALSE(manager.best().has_value());
}

TEST(CheckpointManager, AsynchronousSavesHoldTheValuesOfTheirMoment) {
  for (const bool symlink : {false, true}) {
    testing::TemporaryFolder folder;
    CheckpointManager manager(folder.path(), {.symlink = symlink, .asynchronous = true});
    auto checkpoint = marked(1);
    checkpoint.model["large"] = torch::ones({1 << 20});
    manager.save(interval(1, 1), checkpoint);
    manager.wait_for_copy();
    checkpoint.model["large"].fill_(7);  // training goes on while the file is being written
    checkpoint.model["w"].fill_(2);
    checkpoint.state.updates = 2;
    manager.save(interval(1, 2), checkpoint);
    manager.finish();
    EXPECT_EQ(update_of(folder / "checkpoint_1_1"), 1);
    EXPECT_TRUE(torch::equal(load_checkpoint(folder / "checkpoint_1_1").model.at("large"),
                             torch::ones({1 << 20})));
    EXPECT_EQ(update_of(folder / "checkpoint_last"), 2);
  }
}

TEST(CheckpointManager, AsynchronousErrorsSurfaceAtTheNextSaveOrAtTheEnd) {
  testing::TemporaryFolder folder;
  CheckpointManager manager(folder.path(), {.asynchronous = true});
  auto bad = marked(1);
  bad.model["broken"] = torch::Tensor();
  manager.save(interval(1, 1), bad);
  EXPECT_THAT([&] { manager.save(interval(1, 2), marked(2)); },
              ThrowsMessage<Error>(HasSubstr("'broken' is undefined")));
  manager.save(interval(1, 3), bad);
  EXPECT_THAT([&] { manager.finish(); }, ThrowsMessage<Error>(HasSubstr("'broken' is undefined")));
  EXPECT_TRUE(names(folder.path()).empty());
  EXPECT_NO_THROW(manager.finish());
  manager.save(interval(1, 4), marked(4));
  manager.finish();
  EXPECT_EQ(update_of(folder / "checkpoint_last"), 4);
}

TEST(CheckpointManager, RemovesTheLeftoversOfACrashAtTheStart) {
  testing::TemporaryFolder folder;
  { CheckpointManager(folder.path(), {}).save(interval(1, 10), marked(10)); }
  fs::create_directory(folder / ".checkpoint_1_20.tmp");
  fs::rename(folder / "checkpoint_last", folder / ".checkpoint_last.old");
  testing::write_text(folder / ".profile", "not ours");
  CheckpointManager manager(folder.path(), {});
  EXPECT_THAT(names(folder.path()),
              UnorderedElementsAre("checkpoint_1_10", "checkpoint_last", ".profile"));
}

TEST(CheckpointManager, LeavesForeignNamesAlone) {
  testing::TemporaryFolder folder;
  for (const auto* name :
       {"checkpoint_1", "checkpoint_1_2_3", "checkpoint_x_1", "checkpoint1.bak",
        "checkpoint99999999999999999999", "checkpoint.best_loss_x", "checkpoint.best_ppl_9.00"}) {
    fs::create_directory(folder / name);
  }
  CheckpointManager manager(
      folder.path(),
      {.keep_interval_updates = 1, .keep_last_epochs = 1, .keep_best_checkpoints = 1});
  manager.save(epoch_end(1, 1, 1.0), marked(1));
  EXPECT_EQ(names(folder.path()).size(), 7U + 4U);
}

TEST(CheckpointManager, OnlyOneProcessMayUseARunFolder) {
  testing::TemporaryFolder folder;
  {
    CheckpointManager first(folder.path(), {});
    EXPECT_THAT(
        ([&] { CheckpointManager(folder.path(), {}); }),
        ThrowsMessage<Error>(HasSubstr(fmt::format("is in use by process {};", ::getpid()))));
  }
  EXPECT_NO_THROW(CheckpointManager(folder.path(), {}));
}

TEST(CheckpointManager, RefusesAnUnusableFolderAndMetricBeforeTraining) {
  testing::TemporaryFolder folder;
  testing::write_text(folder / "file", "x");
  EXPECT_THAT(([&] { CheckpointManager(folder / "file" / "run", {}); }),
              ThrowsMessage<Error>(HasSubstr("choose another --save-dir")));
  EXPECT_THAT(([&] { CheckpointManager(folder / "file", {}); }),
              ThrowsMessage<Error>(HasSubstr("choose another --save-dir")));
  EXPECT_THAT(([&] { CheckpointManager("/proc/evomoe", {}); }),
              ThrowsMessage<Error>(HasSubstr("cannot make the run folder")));
  EXPECT_THAT(([&] { CheckpointManager(folder.path(), {.best_metric = "a/b"}); }),
              ThrowsMessage<UsageError>(HasSubstr("'a/b'")));
}

}  // namespace
}  // namespace evomoe
