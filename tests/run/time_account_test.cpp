#include "evomoe/run/time_account.h"

#include <gtest/gtest.h>

#include <numeric>

namespace evomoe {
namespace {

using Path = TimeAccount::Path;

constexpr int64_t kMs = 1000000;

const TimePart* find(const TimeSummary& summary, const Path& path) {
  for (const auto& part : summary.parts) {
    if (part.path == path) return &part;
  }
  return nullptr;
}

double ms(const TimeSummary& summary, const Path& path) {
  const auto* part = find(summary, path);
  return part == nullptr ? -1 : part->ms;
}

/// A clock and the numbers of one thread's nodes, moved by hand.
class Thread {
 public:
  explicit Thread(TimeAccount& account, uint64_t id = 1) : account_(account), id_(id) {}
  void open(const std::string& scope) { account_.open(scope, number(next_), now_); }
  void close() { account_.close(number(next_), now_); }
  void work(int64_t milliseconds) { now_ += milliseconds * kMs; }
  int64_t make_node() { return next_++; }
  void run_node(int64_t made, int64_t milliseconds) {
    account_.open_node(now_);
    account_.name_node(number(made));
    work(milliseconds);
    account_.close_node(now_);
  }
  TimeAccount::NodeNumber number(int64_t n) const { return {id_, n}; }

 private:
  TimeAccount& account_;
  uint64_t id_;
  int64_t now_ = 0, next_ = 100;
};

TEST(TimeAccount, PartsDoNotOverlapAndAddUpToTheUpdate) {
  TimeAccount account;
  Thread thread(account);
  for (int update = 0; update < 2; ++update) {
    thread.open("update");
    thread.work(1);
    thread.open("forward");
    thread.work(2);
    thread.open("layer.0");
    thread.work(3);
    thread.open("router");
    thread.work(4);
    thread.close();
    thread.close();
    thread.work(5);
    thread.close();
    thread.close();
  }
  const auto summary = account.summary(2);
  EXPECT_DOUBLE_EQ(summary.ms, 15);
  EXPECT_DOUBLE_EQ(ms(summary, {}), 1);
  EXPECT_DOUBLE_EQ(ms(summary, {"forward"}), 7);
  EXPECT_DOUBLE_EQ(ms(summary, {"forward", "layer.0"}), 3);
  EXPECT_DOUBLE_EQ(ms(summary, {"forward", "layer.0", "router"}), 4);
  EXPECT_DOUBLE_EQ(find(summary, {"forward"})->calls, 1);
}

TEST(TimeAccount, WhatHappensOutsideOfUpdatesDoesNotCount) {
  TimeAccount account;
  Thread thread(account);
  thread.open("validation");
  thread.open("forward");
  thread.work(5);
  thread.close();
  thread.close();
  thread.open("update");
  thread.work(1);
  thread.close();
  const auto summary = account.summary(1);
  EXPECT_DOUBLE_EQ(summary.ms, 1);
  EXPECT_EQ(summary.parts.size(), 1U);
}

TEST(TimeAccount, ANodeBelongsToThePartThatMadeIt) {
  TimeAccount account;
  Thread thread(account);
  thread.open("update");
  thread.open("forward");
  thread.open("layer.0");
  const auto norm = thread.make_node();
  thread.open("attention");
  const auto attention = thread.make_node();
  thread.close();
  const auto residual = thread.make_node();
  thread.close();
  thread.close();
  thread.open("loss");
  const auto loss = thread.make_node();
  thread.close();
  thread.open("backward");
  thread.run_node(loss, 1);
  thread.run_node(residual, 2);
  thread.run_node(attention, 4);
  thread.run_node(norm, 8);
  thread.run_node(/*made=*/5, 16);  // before the update
  account.open_node(31 * kMs);
  account.name_accumulation();
  account.close_node(63 * kMs);
  thread.work(32);
  thread.close();
  thread.close();
  const auto summary = account.summary(1);
  EXPECT_DOUBLE_EQ(ms(summary, {"backward", "loss"}), 1);
  EXPECT_DOUBLE_EQ(ms(summary, {"backward", "layer.0"}), 2 + 8);
  EXPECT_DOUBLE_EQ(ms(summary, {"backward", "layer.0", "attention"}), 4);
  EXPECT_DOUBLE_EQ(ms(summary, {"backward"}), 16);
  EXPECT_DOUBLE_EQ(ms(summary, {"backward", "accumulate gradients"}), 32);
  EXPECT_DOUBLE_EQ(find(summary, {"backward", "layer.0"})->nodes, 2);
  EXPECT_DOUBLE_EQ(summary.ms, 63);
}

TEST(TimeAccount, ARepeatedForwardPassAndItsNodesBelongToTheBackwardPassOfTheLayer) {
  TimeAccount account;
  Thread thread(account);
  thread.open("update");
  thread.open("forward");
  thread.open("layer.3");
  const auto checkpoint = thread.make_node();
  thread.close();
  thread.close();
  thread.open("backward");
  account.open_node(0);
  account.name_node(thread.number(checkpoint));
  thread.work(1);
  thread.open("experts");  // the forward pass again
  const auto again = thread.make_node();
  thread.work(2);
  thread.close();
  thread.run_node(again, 4);
  account.close_node(7 * kMs);
  thread.close();
  thread.close();
  const auto summary = account.summary(1);
  EXPECT_DOUBLE_EQ(ms(summary, {"backward", "layer.3"}), 1);
  EXPECT_DOUBLE_EQ(ms(summary, {"backward", "layer.3", "experts"}), 2 + 4);
  EXPECT_DOUBLE_EQ(summary.ms, 7);
}

TEST(TimeAccount, NumbersOfTwoThreadsAreNotMixedUp) {
  TimeAccount account;
  Thread main(account, 1), other(account, 2);
  main.open("update");
  main.open("forward");
  const auto made = main.make_node();
  main.close();
  main.open("backward");
  other.run_node(made, 1);  // the same number, made by a thread that opened nothing
  main.work(1);
  main.close();
  main.close();
  EXPECT_DOUBLE_EQ(ms(account.summary(1), {"backward"}), 1);
}

}  // namespace
}  // namespace evomoe
