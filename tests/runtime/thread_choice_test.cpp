#include "evomoe/runtime/thread_choice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace evomoe {
namespace {

/// A machine on which work is simulated: a region ends when its slowest thread does, and a thread
/// on a core that another program uses is slow.
class SimulatedMachine {
 public:
  SimulatedMachine(int cores, double piece_seconds)
      : cores_(cores),
        piece_seconds_(piece_seconds),
        choice_(cores,
                {.now = [this] { return now_; },
                 .waited = [this] { return sees_waiting ? std::optional(waited_) : std::nullopt; },
                 .idle = [this] { return sees_idle ? std::optional(idle_) : std::nullopt; },
                 .use = [this](int threads) { in_use_ = threads; }}) {}

  /// Pieces of work for so many seconds.
  void work(double seconds) {
    for (const double end = now_ + seconds; now_ < end;) {
      choice_.begin();
      const int free = cores_ - busy;
      const double speed = in_use_ <= free ? in_use_ : slow_speed * in_use_;
      const double took = piece_seconds_ / speed;
      now_ += took;
      if (in_use_ > free) waited_ += took * (in_use_ - free) * 0.5;
      idle_ += took * std::max(0, free - in_use_);
      work_ += piece_seconds_;
      if (const auto change = choice_.end(piece_seconds_)) changes.push_back(*change);
    }
  }

  /// Work done a second, in that of one thread.
  double speed_over(double seconds) {
    const double began = now_, before = work_;
    work(seconds);
    return (work_ - before) / (now_ - began);
  }

  void stop_trial() { choice_.stop_trial(); }
  int threads() const { return choice_.threads(); }
  int in_use() const { return in_use_; }

  int busy = 0;             ///< cores that another program uses
  double slow_speed = 0.3;  ///< of a thread where one of them has to share its core
  bool sees_waiting = true, sees_idle = true;
  std::vector<ThreadChoice::Change> changes;

 private:
  int cores_;
  double piece_seconds_;
  double now_ = 0, waited_ = 0, idle_ = 0, work_ = 0;
  int in_use_ = cores_;
  ThreadChoice choice_;
};

TEST(ThreadChoice, TriesNothingOnAnIdleMachine) {
  SimulatedMachine machine(2, 0.05);
  EXPECT_NEAR(machine.speed_over(600), 2, 1e-9);
  EXPECT_TRUE(machine.changes.empty());
}

TEST(ThreadChoice, FewerThreadsWhereACoreIsBusyAndMoreWhenItIsFreeAgain) {
  for (const int cores : {2, 3, 4, 16}) {
    SCOPED_TRACE(cores);
    SimulatedMachine machine(cores, 0.05);
    machine.work(5);
    machine.busy = 1;
    machine.work(5);
    EXPECT_EQ(machine.threads(), cores - 1);
    EXPECT_GE(machine.speed_over(600), 0.98 * (cores - 1));
    machine.busy = 0;
    machine.work(5);
    EXPECT_EQ(machine.threads(), cores);
    EXPECT_EQ(machine.in_use(), cores);
    ASSERT_EQ(machine.changes.size(), 2u);
    EXPECT_EQ(machine.changes[0].before, cores);
    EXPECT_NEAR(machine.changes[0].ratio, (cores - 1) / (0.3 * cores), 1e-9);
  }
}

TEST(ThreadChoice, FindsTheFewCoresThatAreLeft) {
  SimulatedMachine machine(16, 0.05);
  machine.busy = 13;
  machine.slow_speed = 0.1;
  machine.work(20);
  EXPECT_EQ(machine.threads(), 3);
}

TEST(ThreadChoice, KeepsThreadsThatAreFasterAlthoughTheyWait) {
  SimulatedMachine machine(2, 0.05);
  machine.busy = 1;
  machine.slow_speed = 0.7;
  EXPECT_GE(machine.speed_over(600), 0.98 * 1.4);
  EXPECT_TRUE(machine.changes.empty());
}

TEST(ThreadChoice, OnePieceMayBeLongerThanATurn) {
  SimulatedMachine machine(2, 10);
  machine.busy = 1;
  machine.work(200);
  EXPECT_EQ(machine.threads(), 1);
}

TEST(ThreadChoice, LooksForFreeCoresNowAndThenWhereTheSystemDoesNotTell) {
  SimulatedMachine machine(2, 0.05);
  machine.sees_idle = false;
  machine.busy = 1;
  machine.work(5);
  EXPECT_EQ(machine.threads(), 1);
  EXPECT_GE(machine.speed_over(1200), 0.95);
  machine.busy = 0;
  machine.work(65);
  EXPECT_EQ(machine.threads(), 2);
}

TEST(ThreadChoice, ChangesRarelyWhereOtherProgramsComeAndGo) {
  SimulatedMachine machine(2, 0.05);
  for (int second = 0; second < 600; ++second) {
    machine.busy = second / 5 % 2;
    machine.work(1);
  }
  EXPECT_LE(machine.changes.size(), 24u) << "not at each of the 120 changes of the machine";
}

TEST(ThreadChoice, ATrialThatIsGivenUpLeavesTheChosenNumber) {
  SimulatedMachine machine(2, 0.05);
  machine.busy = 1;
  while (machine.in_use() == 2) machine.work(0.05);
  machine.stop_trial();
  EXPECT_EQ(machine.in_use(), 2);
  machine.work(5);
  EXPECT_EQ(machine.threads(), 1);
}

TEST(ThreadChoice, StaysAsItIsWhereWaitingCannotBeSeen) {
  SimulatedMachine machine(2, 0.05);
  machine.sees_waiting = false;
  machine.busy = 1;
  machine.work(60);
  EXPECT_EQ(machine.threads(), 2);
  EXPECT_TRUE(machine.changes.empty());
}

}  // namespace
}  // namespace evomoe
