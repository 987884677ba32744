#include "evomoe/parallel/rank_place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "evomoe/parallel/distributed_options.h"
#include "tests/testing/expect_error.h"

namespace evomoe {
namespace {

using Variables = std::map<std::string, std::string>;

RankPlan plan(const DistributedOptions& options, const Variables& variables = {}) {
  return plan_ranks(options, [&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  });
}

TEST(RankPlan, OneProcessIsTheDefault) {
  for (const auto& of_one : {plan({}), plan({.distributed_world_size = 1}),
                             plan({.distributed_world_size = 1, .distributed_rank = 0})}) {
    EXPECT_EQ(of_one.first.size, 1);
    EXPECT_EQ(of_one.processes, 1);
  }
  EXPECT_EQ(plan({}, {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "1"}}).first.size, 1);
}

TEST(RankPlan, AWorldSizeAloneMeansProcessesOfThisMachine) {
  const auto four = plan({.distributed_world_size = 4});
  EXPECT_EQ(four.processes, 4);
  EXPECT_EQ(four.first.rank, 0);
  EXPECT_EQ(four.first.size, 4);
  EXPECT_EQ(four.first.local_size, 4);
  EXPECT_EQ(four.first.init_method, "");
  // As fairseq writes what nobody gave.
  EXPECT_EQ(
      plan({.distributed_world_size = 4, .distributed_rank = 0, .distributed_port = -1}).processes,
      4);
}

TEST(RankPlan, RanksGivenByHandAreThoseOfOneMachine) {
  const auto second = plan({.distributed_world_size = 4,
                            .distributed_rank = 2,
                            .distributed_num_procs = 2,
                            .distributed_init_method = "tcp://a:1"});
  EXPECT_EQ(second.first.rank, 2);
  EXPECT_EQ(second.processes, 2);
  EXPECT_EQ(second.first.init_method, "tcp://a:1");
  EXPECT_EQ(plan({.distributed_world_size = 2,
                  .distributed_rank = 1,
                  .distributed_init_method = "file:///x"})
                .processes,
            1);
  const auto of_readme = plan(
      {.distributed_world_size = 4, .distributed_rank = 2, .distributed_init_method = "tcp://a:1"},
      {{"DLWS_NUM_GPU_PER_WORKER", "2"},
       {"OMPI_COMM_WORLD_RANK", "1"},
       {"OMPI_COMM_WORLD_SIZE", "2"}});
  EXPECT_EQ(of_readme.first.rank, 2);
  EXPECT_EQ(of_readme.processes, 2);
}

TEST(RankPlan, ProgramsThatStartProcessesSayThePlace) {
  const Variables torchrun = {{"RANK", "3"},        {"WORLD_SIZE", "4"},
                              {"LOCAL_RANK", "1"},  {"LOCAL_WORLD_SIZE", "2"},
                              {"MASTER_ADDR", "m"}, {"MASTER_PORT", "7"}};
  const auto of_torchrun = plan({}, torchrun).first;
  EXPECT_EQ(of_torchrun.rank, 3);
  EXPECT_EQ(of_torchrun.local_rank, 1);
  EXPECT_EQ(of_torchrun.local_size, 2);
  EXPECT_EQ(of_torchrun.init_method, "tcp://m:7");
  EXPECT_FALSE(of_torchrun.launcher_listens);
  // Its own process listens there, as it does by default, and keeps what ranks left before.
  auto again = torchrun;
  again["TORCHELASTIC_USE_AGENT_STORE"] = "True";
  again["TORCHELASTIC_RESTART_COUNT"] = "2";
  EXPECT_TRUE(plan({}, again).first.launcher_listens);
  EXPECT_EQ(plan({}, again).first.restarts, 2);
  EXPECT_FALSE(plan({.distributed_init_method = "tcp://h:9"}, again).first.launcher_listens);
  const Variables mpi = {{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}};
  const auto of_mpi = plan({.distributed_init_method = "tcp://h:9"}, mpi).first;
  EXPECT_EQ(of_mpi.rank, 1);
  EXPECT_EQ(of_mpi.init_method, "tcp://h:9");
  for (const auto& [list, host] :
       Variables{{"node[03-07,9]", "node03"}, {"a,b", "a"}, {"n1", "n1"}}) {
    const auto of_slurm =
        plan({.distributed_port = 5},
             {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "2"}, {"SLURM_JOB_NODELIST", list}})
            .first;
    EXPECT_EQ(of_slurm.init_method, "tcp://" + host + ":5");
  }
  for (const auto& [node, processes] : {std::pair{"0", 2}, {"2", 2}, {"3", 1}, {"4", 5}}) {
    const auto of_slurm = plan({}, {{"SLURM_PROCID", "0"},
                                    {"SLURM_NTASKS", "12"},
                                    {"SLURM_NODELIST", "n[1-5]"},
                                    {"SLURM_STEP_TASKS_PER_NODE", "2(x3),1,5"},
                                    {"SLURM_NODEID", node}})
                              .first;
    EXPECT_EQ(of_slurm.local_size, processes) << node;
  }
  // What this program starts itself goes before all else.
  auto own = torchrun;
  own[kInitMethodVariable] = "file:///tmp/x";
  const auto of_own = plan(
      {.distributed_world_size = 4, .distributed_rank = 0, .distributed_init_method = "tcp://a:1"},
      own);
  EXPECT_EQ(of_own.first.rank, 3);
  EXPECT_EQ(of_own.first.init_method, "file:///tmp/x");
  EXPECT_EQ(of_own.processes, 1);
}

TEST(RankPlan, WhatDoesNotFitTogetherIsRefused) {
  expect_error([] { plan({.distributed_world_size = 4, .distributed_rank = 1}); },
               {"--distributed-init-method"});
  expect_error(
      [] {
        plan({.distributed_world_size = 4,
              .distributed_rank = 4,
              .distributed_init_method = "tcp://a:1"});
      },
      {"rank 4 is not one of 4"});
  expect_error(
      [] {
        plan({.distributed_world_size = 4,
              .distributed_rank = 3,
              .distributed_num_procs = 2,
              .distributed_init_method = "tcp://a:1"});
      },
      {"rank 3 and the 1 after it", "--distributed-num-procs"});
  expect_error([] { plan({.distributed_world_size = 4, .distributed_num_procs = 2}); },
               {"--distributed-num-procs 2", "--distributed-rank"});
  for (const auto* method :
       {"a:1", "tcp://a", "tcp://a:b", "tcp://a:0", "tcp://a:70000", "file://", "env://"}) {
    expect_error(
        [&] {
          plan({.distributed_world_size = 2,
                .distributed_rank = 0,
                .distributed_init_method = method});
        },
        {method, "tcp://HOST:PORT"});
  }
  expect_error([] { plan({}, {{"RANK", "one"}, {"WORLD_SIZE", "2"}}); }, {"RANK=one"});
  expect_error(
      [] {
        plan({.distributed_world_size = 3}, {{"RANK", "0"}, {"WORLD_SIZE", "2"}});
      },
      {"--distributed-world-size 3", "WORLD_SIZE=2"});
  expect_error(
      [] {
        plan({}, {{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}});
      },
      {"PMI_SIZE=2", "--distributed-init-method"});
}

}  // namespace
}  // namespace evomoe
