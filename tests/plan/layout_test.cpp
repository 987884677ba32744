#include "evomoe/plan/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

Machine some_machine() {
  return {.name = "m",
          .about = "a machine",
          .ranks_per_node = 4,
          .flops = 1e12,
          .memory = 1e9,
          .memory_bandwidth = 1e11,
          .inside = {1e10, 1e-5},
          .between = {1e9, 1e-4}};
}

PartParameters trained_part(const ParameterBytes& bytes) {
  return {.all = bytes, .trained = bytes, .moments = {2 * bytes.experts, 2 * bytes.others}};
}

/// A million shared words, four million of experts, all outside of blocks.
Workload some_work() {
  Workload work;
  work.micro_batches = 2;
  work.tokens = 1000;
  work.width = 64;
  work.experts = 8;
  work.active_experts = 1;
  work.blocks = 6;
  work.flops = 1e10;
  work.exchanges = 12;
  work.memory.outside = trained_part({.experts = 16'000'000, .others = 4'000'000});
  work.memory.parameters = work.memory.gradients = 20'000'000;
  work.memory.moments = 40'000'000;
  work.memory.activations = 7'000'000;
  return work;
}

/// The same with four blocks, which have all experts and half of the shared words.
Workload work_with_blocks() {
  auto work = some_work();
  work.memory.blocks.assign(4, trained_part({.experts = 4'000'000, .others = 500'000}));
  work.memory.outside = trained_part({.others = 2'000'000});
  return work;
}

TEST(RanksVisited, IsTheMeanNumberOfOtherRanksWithAnExpertOfAToken) {
  EXPECT_EQ(ranks_visited(1, 8, 2), 0);
  EXPECT_EQ(ranks_visited(4, 0, 0), 0);
  EXPECT_NEAR(ranks_visited(2, 8, 1), 0.5, 1e-9);
  EXPECT_NEAR(ranks_visited(4, 8, 1), 0.75, 1e-9);
  EXPECT_NEAR(ranks_visited(4, 8, 8), 3, 1e-9) << "all experts: each other rank";
  // Two of four experts on two ranks: 4 of the 6 pairs are on both of them, 2 on one.
  EXPECT_NEAR(ranks_visited(2, 4, 2), (4.0 * 2 + 2) / 6 / 2, 1e-9);
  EXPECT_GT(ranks_visited(4, 8, 1.5), ranks_visited(4, 8, 1));
  EXPECT_LT(ranks_visited(4, 8, 1.5), ranks_visited(4, 8, 2));
}

TEST(Layouts, AreThoseThatTheProgramCanDo) {
  EXPECT_THAT(layouts_of(1, 8, true), ::testing::ElementsAre(Layout{1, 1, 0}));
  EXPECT_EQ(layouts_of(4, 8, true).size(), 12U) << "1, 2 or 4 ranks share experts; four stages";
  EXPECT_EQ(layouts_of(4, 8, false).size(), 3U);
  EXPECT_EQ(layouts_of(6, 2, false).size(), 2U) << "6 ranks cannot share 2 experts";
  EXPECT_EQ(layouts_of(4, 0, false).size(), 1U);
}

TEST(Costs, AreThoseOfTheFormulas) {
  const auto machine = some_machine();
  const auto work = some_work();
  const auto one = cost_of({1, 1, 0}, work, machine);
  EXPECT_DOUBLE_EQ(one.memory, static_cast<double>(work.memory.total()));
  EXPECT_EQ(one.bytes(), 0);
  EXPECT_DOUBLE_EQ(one.compute_seconds, 0.02);
  EXPECT_DOUBLE_EQ(one.update_seconds, 7 * 4 * 5e6 / 1e11);
  EXPECT_EQ(one.wait_seconds, 0);

  const auto data = cost_of({4, 1, 0}, work, machine);
  EXPECT_DOUBLE_EQ(data.gradient_bytes, 2 * 4 * 5e6 * 3 / 4);
  EXPECT_EQ(data.token_bytes, 0);
  EXPECT_DOUBLE_EQ(data.memory, one.memory);

  const auto experts = cost_of({4, 4, 0}, work, machine);
  EXPECT_DOUBLE_EQ(experts.gradient_bytes, 2 * 4 * 1e6 * 3 / 4) << "each expert is on one rank";
  EXPECT_NEAR(experts.token_bytes, 2000 * 0.75 * 64 * 4 * 12, 1e-6);
  EXPECT_DOUBLE_EQ(
      experts.memory,
      static_cast<double>(share_of_rank(work.memory, {.ranks = 4, .expert_ranks = 4}).total()));
  const auto blocks = work_with_blocks();
  EXPECT_LT(cost_of({4, 4, 0}, blocks, machine).memory, cost_of({4, 1, 0}, blocks, machine).memory);
  EXPECT_LT(cost_of({4, 1, 3}, blocks, machine).memory, cost_of({4, 1, 2}, blocks, machine).memory);
  EXPECT_GT(experts.wait_seconds, 0);

  const auto zero = cost_of({4, 1, 3}, work, machine);
  EXPECT_DOUBLE_EQ(zero.gradient_bytes, (2 + 1) * 4 * 5e6 * 3 / 4)
      << "gradients of two micro-batches; gathered once";
  EXPECT_DOUBLE_EQ(zero.update_seconds, one.update_seconds / 4);
  // Three of the four blocks are gathered twice in each of the two micro-batches, the last one
  // once.
  EXPECT_DOUBLE_EQ(cost_of({4, 1, 3}, blocks, machine).gradient_bytes,
                   (2 * 20e6 + 2e6 + (2 * 2 * 3 + 2) * 4.5e6) * 3 / 4);

  // Beyond a node the ring is as fast as the slower link.
  const auto nodes = cost_of({8, 1, 0}, work, machine);
  EXPECT_GT(nodes.wait_seconds, data.wait_seconds);
}

TEST(Costs, MessagesAreHiddenByComputingWhereOthersThanTheCoresMoveThem) {
  auto machine = some_machine();
  const auto work = some_work();
  EXPECT_EQ(cost_of({4, 1, 0}, work, machine).wait_seconds, 0);
  // What a rank has changed goes to the others behind the update: one of three rounds.
  const double latency = 6 * 1e-5;
  EXPECT_NEAR(cost_of({4, 1, 1}, work, machine).wait_seconds, 4 * 5e6 * 3 / 4 / 1e10 + latency,
              1e-9);
  // Stage 2 adds gradients up during the backward pass of each of the two micro-batches.
  machine.inside = {1e9, 1e-12};
  EXPECT_NEAR(cost_of({4, 1, 2}, work, machine).wait_seconds,
              3 * 4 * 5e6 * 3 / 4 / 1e9 - 2 * 2.0 / 3 * 1e10 / 1e12, 1e-9);
  machine.inside = some_machine().inside;
  machine.overlap = 0;
  EXPECT_NEAR(cost_of({4, 1, 0}, work, machine).wait_seconds,
              2 * (4 * 5e6 * 3 / 4 / 1e10 + latency), 1e-9);
}

TEST(Costs, WhatIsFrozenIsGatheredAndNeitherSummedNorUpdated) {
  const auto machine = some_machine();
  for (const bool experts : {false, true}) {
    SCOPED_TRACE(experts ? "experts are frozen" : "the others are frozen");
    auto work = work_with_blocks();
    auto& memory = work.memory;
    const auto freeze = [&](PartParameters& part) {
      for (auto* bytes : {&part.trained, &part.moments})
        (experts ? bytes->experts : bytes->others) = 0;
    };
    for (auto& block : memory.blocks) freeze(block);
    freeze(memory.outside);
    const auto trained = memory.model().trained.sum();
    memory.gradients = trained;
    memory.moments = 2 * trained;
    for (const int64_t stage : {0, 1, 2, 3}) {
      SCOPED_TRACE(stage);
      const auto cost = cost_of({4, 1, stage}, work, machine);
      const auto gathered = stage == 3 ? 2e6 + (2 * 2 * 3 + 2) * 4.5e6 : 0;
      const double rounds = stage == 0 ? 2 : stage == 3 ? 2 : 3;
      EXPECT_DOUBLE_EQ(cost.gradient_bytes,
                       (rounds * static_cast<double>(trained) + gathered) * 3 / 4);
      EXPECT_DOUBLE_EQ(cost.update_seconds,
                       7 * static_cast<double>(trained) / (stage == 0 ? 1 : 4) / 1e11);
      for (const int64_t expert_ranks : {1, 2, 4}) {
        const auto shared = cost_of({4, expert_ranks, stage}, work, machine);
        EXPECT_GE(shared.gradient_bytes, 0);
        EXPECT_GE(shared.update_seconds, 0);
        EXPECT_GE(shared.wait_seconds, 0);
        EXPECT_LT(shared.memory,
                  cost_of({4, expert_ranks, stage}, work_with_blocks(), machine).memory);
      }
    }
  }
}

TEST(Costs, WhatFitsComesFirstAndTheFastestOfIt) {
  auto machine = some_machine();
  machine.memory = 60e6;
  std::vector<LayoutCost> costs;
  for (const auto& layout : layouts_of(4, 8, true))
    costs.push_back(cost_of(layout, some_work(), machine));
  const auto best = ranked(std::move(costs));
  EXPECT_TRUE(best.front().fits);
  EXPECT_FALSE(best.back().fits);
  for (size_t i = 1; i < best.size(); ++i) {
    EXPECT_GE(best[i - 1].fits, best[i].fits);
    if (best[i].fits) EXPECT_LE(best[i - 1].seconds(), best[i].seconds());
  }
}

TEST(Machines, AreKnownOrReadFromAFile) {
  EXPECT_THAT(machine_names(), ::testing::ElementsAre("h100_node", "h200_node"));
  for (const auto& name : machine_names()) EXPECT_EQ(find_machine(name).ranks_per_node, 8);
  const testing::TemporaryFolder folder;
  const auto write = [&](const std::string& text) {
    std::ofstream(folder / "mine.yaml") << text;
    return (folder / "mine.yaml").string();
  };
  const auto text = to_yaml(some_machine());
  const std::string overlap = "overlap: 1\n";
  auto without_overlap = text;
  without_overlap.erase(text.find(overlap), overlap.size());
  const auto read = find_machine(write(text));
  EXPECT_EQ(read.name, "mine");
  EXPECT_EQ(read.flops, 1e12);
  EXPECT_EQ(read.between.latency, 1e-4);
  EXPECT_EQ(find_machine(write("overlap: 0.5\n" + without_overlap)).overlap, 0.5);
  EXPECT_EQ(find_machine(write(without_overlap)).overlap, 1);
  expect_error([] { find_machine("h100_nod"); }, {"h100_nod", "did you mean h100_node"});
  expect_error([&] { find_machine(write("flops: 3\n")); }, {"mine.yaml", "'about' is missing"});
  expect_error([&] { find_machine(write(text + "flop: 3\n")); }, {"'flop' means nothing"});
  expect_error([&] { find_machine(write("overlap: 1.5\n" + without_overlap)); },
               {"'overlap' is 1.5", "0 to 1"});
  expect_error([&] { find_machine(write("[1, 2]\n")); }, {"a map of keys"});
  expect_error([&] { find_machine(write("a: [1\n")); }, {"no YAML file"});
  auto slow = some_machine();
  slow.flops = 0;
  expect_error([&] { find_machine(write(to_yaml(slow))); }, {"'flops' is 0", "above 0"});
}

}  // namespace
}  // namespace evomoe
