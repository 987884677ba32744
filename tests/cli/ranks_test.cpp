// Runs of several processes: the same numbers as one process, stopping, going on, and what breaks.
#include "tests/testing/ranks.h"

#include <unistd.h>

#include <csignal>
#include <future>
#include <sstream>

#include "evomoe/checkpoint/checkpoint.h"
#include "evomoe/parallel/process_group.h"
#include "evomoe/report/run_log.h"
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Ranks : public Commands {
 protected:
  void SetUp() override {
    EVOMOE_NEEDS_RANKS();
    Commands::SetUp();
  }

  static std::string ranks(int count) { return fmt::format("--distributed-world-size {} ", count); }
  static std::string updates_of(int micro_batches) {
    return fmt::format("--update-freq {} ", micro_batches);
  }

  /// Three updates of four micro-batches an epoch, and one of fewer: 90 lines in batches of 7.
  std::string arguments(const std::string& run) const {
    return train_arguments(run) + "--sample-break-mode eos --batch-size 28 --max-update 14 " +
           "--log-interval 1 --dropout 0.1 --clip-norm 0.5 ";
  }

  testing::CommandResult expect_works(const std::string& arguments) {
    auto result = evomoe(arguments);
    EXPECT_EQ(result.exit_code, 0) << arguments << "\n" << result.err;
    return result;
  }

  /// Begins it, and waits for the first lines of its log.
  std::future<testing::CommandResult> start(const std::string& run, const std::string& arguments) {
    const auto command = fmt::format("sh -c 'echo $$ > {}; exec {} {}'", (folder_ / "pid").string(),
                                     testing::program().string(), arguments);
    auto result =
        std::async(std::launch::async, [command] { return testing::run_command(command); });
    const auto log = folder_ / (run + "/log.jsonl");
    while (!fs::exists(log) || fs::file_size(log) < 3000) {
      if (result.wait_for(std::chrono::milliseconds(20)) == std::future_status::ready) break;
    }
    return result;
  }
  /// That of start().
  int process() const { return std::stoi(testing::read_text(folder_ / "pid")); }

  std::vector<nlohmann::ordered_json> lines_of(const std::string& run) const {
    return read_run_log(folder_ / (run + "/log.jsonl"));
  }

  void expect_same_numbers(const std::string& run, const std::string& as) {
    const auto expected = lines_of(as), lines = lines_of(run);
    ASSERT_EQ(lines.size(), expected.size());
    int compared = 0;
    for (size_t i = 0; i < lines.size(); ++i) {
      for (const auto* key : {"loss", "gnorm", "valid_loss", "moe_gate_loss", "bsz"}) {
        ASSERT_EQ(lines[i].contains(key), expected[i].contains(key)) << key;
        if (!lines[i].contains(key)) continue;
        const auto value = expected[i].at(key).get<double>();
        EXPECT_NEAR(lines[i].at(key).get<double>(), value, 2e-3 * std::max(1.0, std::abs(value)))
            << key << " of line " << i;
        ++compared;
      }
    }
    EXPECT_GT(compared, 30);
    expect_same_tensors(run, as);
  }

  void expect_same_tensors(const std::string& run, const std::string& as) {
    const auto theirs = load_checkpoint(folder_ / as / "checkpoint_last");
    const auto ours = load_checkpoint(folder_ / run / "checkpoint_last");
    expect_same_tensors(ours.model, theirs.model);
    expect_same_tensors(ours.optimizer, theirs.optimizer);
  }

  static void expect_same_tensors(const TensorMap& ours, const TensorMap& theirs) {
    ASSERT_EQ(ours.size(), theirs.size());
    for (const auto& [name, tensor] : theirs) {
      const auto a = ours.at(name).to(torch::kFloat64), b = tensor.to(torch::kFloat64);
      const auto scale = std::max(1e-6, b.abs().max().item<double>());
      EXPECT_LT((a - b).abs().max().item<double>() / scale, 1e-3) << name;
    }
  }

  /// An evolution of four experts that begins with the shared one.
  std::string shared_evolution() const { return evolution() + "--shared-expert-updates 4 "; }
};

TEST_F(Ranks, GiveTheNumbersOfOneProcessWithAsManyMicroBatches) {
  const std::vector<std::string> models = {
      "", "--moe-freq 2 --moe-expert-count 4 --moe-top1-expert --criterion moe_cross_entropy ",
      evolution() + "--shared-expert-updates 4 "};
  for (const auto& model : models) {
    SCOPED_TRACE(model);
    expect_works(arguments("one") + updates_of(4) + model);
    expect_works(arguments("two") + updates_of(2) + ranks(2) + model);
    expect_same_numbers("two", "one");
    expect_works(arguments("four") + updates_of(1) + ranks(4) + model);
    expect_same_numbers("four", "one");
    fs::remove_all(folder_ / "two");
    expect_works(arguments("two") + updates_of(2) + ranks(2) + "--expert-parallel-size 1 " + model);
    expect_same_numbers("two", "one");
    for (const auto* run : {"one", "two", "four"}) fs::remove_all(folder_ / run);
  }
}

TEST_F(Ranks, ARunGoesOnWithAnotherNumberOfThem) {
  expect_works(arguments("whole") + updates_of(4));
  expect_works(arguments("part") + updates_of(2) + ranks(2) + "--max-update 5");
  expect_works(arguments("part") + updates_of(1) + ranks(4) + "--max-update 9");
  const auto result = expect_works(arguments("part") + updates_of(4));
  EXPECT_THAT(result.err, HasSubstr("goes on from"));
  expect_same_tensors("part", "whole");
  // Numbers of ranks that share no divisor.
  expect_works(arguments("odd") + updates_of(1) + ranks(3) + "--max-update 3");
  expect_works(arguments("odd") + updates_of(1) + ranks(2) + "--max-update 7");
  const auto state = read_state(folder_ / "odd/checkpoint_last");
  EXPECT_EQ(state.data.epoch, 2);
  EXPECT_EQ(state.data.offset, 2)
      << "9 batches by three ranks, three times 2 to the end, 2 of epoch 2";
}

TEST_F(Ranks, ThatShareExpertsGoOnWithAnotherNumberOfThem) {
  const auto evolves = shared_evolution();
  expect_works(arguments("whole") + updates_of(4) + evolves);
  // In the shared-expert stage, before and after the spawn.
  const auto run = arguments("part") + evolves;
  expect_works(run + updates_of(2) + ranks(2) + "--max-update 3");
  auto result = expect_works(run + updates_of(1) + ranks(4) + "--max-update 6");
  EXPECT_THAT(result.err, HasSubstr("4 ranks; all of them share the 4 experts"));
  EXPECT_TRUE(fs::exists(folder_ / "part/checkpoint_last/model.rank-3.safetensors"));
  expect_works(run + updates_of(2) + ranks(2) +
               "--max-update 9 --write-checkpoints-asynchronously");
  EXPECT_TRUE(fs::exists(folder_ / "part/checkpoint_last/model.rank-1.safetensors"));
  EXPECT_FALSE(fs::exists(folder_ / "part/checkpoint_last/model.rank-3.safetensors"));
  expect_works(run + updates_of(1) + ranks(4) + "--expert-parallel-size 2 --max-update 11");
  EXPECT_FALSE(fs::exists(folder_ / "part/checkpoint_last/model.rank-2.safetensors"))
      << "the second copy of the experts is not saved again";
  result = expect_works(run + updates_of(4));
  EXPECT_THAT(result.err, HasSubstr("goes on from"));
  expect_same_tensors("part", "whole");
}

TEST_F(Ranks, ThatDivideTheModelGiveTheNumbersOfOneProcess) {
  const std::vector<std::string> models = {"", shared_evolution()};
  for (const auto& model : models) {
    SCOPED_TRACE(model);
    expect_works(arguments("one") + updates_of(4) + model);
    const std::vector<std::string> layouts = {
        updates_of(2) + ranks(2) + "--ddp-backend fully_sharded ",
        updates_of(2) + ranks(2) + "--zero-stage 1 ",
        updates_of(1) + ranks(4) + "--zero-stage 2 " +
            (model.empty() ? "" : "--expert-parallel-size 2 "),
        updates_of(1) + ranks(4) +
            "--zero-stage 3 --expert-parallel-size 1 --no-reshard-after-forward "
            "--checkpoint-activations "};
    for (const auto& layout : layouts) {
      SCOPED_TRACE(layout);
      expect_works(arguments("run") + layout + model);
      EXPECT_TRUE(fs::exists(folder_ / "run/checkpoint_last/optimizer.rank-1.safetensors"));
      expect_same_numbers("run", "one");
      fs::remove_all(folder_ / "run");
    }
    fs::remove_all(folder_ / "one");
  }
}

TEST_F(Ranks, ThatDivideTheModelGoOnInAnotherWayAndNumber) {
  const auto evolves = shared_evolution();
  expect_works(arguments("whole") + updates_of(4) + evolves);
  const auto run = arguments("part") + evolves;
  expect_works(run + updates_of(2) + ranks(2) + "--zero-stage 3 --max-update 3");
  expect_works(run + updates_of(1) + ranks(4) + "--zero-stage 2 --max-update 6");
  expect_works(run + updates_of(2) + ranks(2) + "--max-update 9");
  expect_works(run + updates_of(1) + ranks(4) +
               "--zero-stage 3 --expert-parallel-size 2 --max-update 11 "
               "--write-checkpoints-asynchronously");
  expect_works(run + updates_of(4));
  expect_same_tensors("part", "whole");
}

TEST_F(Ranks, ThatGoOnAddUpInTheSameOrder) {
  for (const auto* stage : {"--zero-stage 0 ", "--zero-stage 3 "}) {
    SCOPED_TRACE(stage);
    const auto same = ranks(3) + stage + shared_evolution();
    expect_works(arguments("whole") + same);
    for (const auto* stop : {"--max-update 3", "--max-update 7", ""})
      expect_works(arguments("part") + same + stop);
    const auto whole = load_checkpoint(folder_ / "whole/checkpoint_last");
    const auto part = load_checkpoint(folder_ / "part/checkpoint_last");
    for (const auto& [name, tensor] : whole.model)
      EXPECT_TRUE(torch::equal(part.model.at(name), tensor)) << name;
    for (const auto* name : {"whole", "part"}) fs::remove_all(folder_ / name);
  }
}

TEST_F(Ranks, WhatTheyWroteTogetherIsReadByAllCommands) {
  expect_works(arguments("run") + ranks(2) + shared_evolution());
  const auto checkpoint = folder_ / "run/checkpoint_last";
  ASSERT_TRUE(fs::exists(checkpoint / "model.rank-1.safetensors"));
  const auto folder = folder_.path().string();
  expect_works("convert " + checkpoint.string() + " --to fairseq --output " + folder + "/x.pt");
  expect_works("convert " + folder + "/x.pt --output " + folder + "/back --data " + folder +
               "/bin");
  const auto ours = load_checkpoint(checkpoint);
  const auto back = load_checkpoint(folder_ / "back/checkpoint_last");
  expect_same_tensors(back.model, ours.model);
  expect_same_tensors(back.optimizer, ours.optimizer);
  const auto perplexity = [&](const fs::path& path) {
    return expect_works("eval-lm " + folder + "/bin --gen-subset valid --path " + path.string())
        .out;
  };
  EXPECT_EQ(perplexity(checkpoint), perplexity(folder_ / "back/checkpoint_last"));
}

TEST_F(Ranks, ACheckpointInFairseqsFormGoesOnFromTheSameBatch) {
  expect_works(arguments("whole") + updates_of(2) + ranks(2));
  expect_works(arguments("part") + updates_of(2) + ranks(2) + "--max-update 5");
  const auto file = (folder_ / "x.pt").string();
  expect_works("convert " + (folder_ / "part/checkpoint_last").string() +
               " --to fairseq --output " + file);
  expect_works(arguments("other") + updates_of(2) + ranks(2) + "--restore-file " + file);
  expect_same_tensors("other", "whole");
}

TEST_F(Ranks, AreBitReproducible) {
  for (const auto* run : {"a", "b"}) expect_works(arguments(run) + ranks(2) + evolution());
  EXPECT_EQ(model_file("a"), model_file("b"));
  EXPECT_EQ(optimizer_file("a"), optimizer_file("b"));
}

TEST_F(Ranks, OnlyTheFirstOneTalksAndWrites) {
  const auto result = expect_works(arguments("run") + ranks(3));
  const auto done = result.err.find("done after 14 updates");
  ASSERT_NE(done, std::string::npos) << result.err;
  EXPECT_EQ(result.err.find("done after", done + 1), std::string::npos) << result.err;
}

TEST_F(Ranks, StartedByHandAndByTorchrunFindEachOther) {
  const auto meet =
      fmt::format("--distributed-init-method file://{}/meet ", folder_.path().string());
  auto second = std::async(std::launch::async, [&] {
    return evomoe(arguments("hand") + ranks(2) + meet + "--distributed-rank 1");
  });
  expect_works(arguments("hand") + ranks(2) + meet + "--distributed-rank 0");
  EXPECT_EQ(second.get().exit_code, 0);
  const auto torchrun = [&](int rank) {
    return testing::run_command(fmt::format(
        "env RANK={} WORLD_SIZE=2 LOCAL_RANK={} LOCAL_WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 "
        "MASTER_PORT=29{} {} {}",
        rank, rank, 500 + getpid() % 400, testing::program().string(), arguments("torchrun")));
  };
  auto other = std::async(std::launch::async, [&] { return torchrun(1); });
  const auto first = torchrun(0);
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(other.get().exit_code, 0);
  EXPECT_EQ(model_file("hand"), model_file("torchrun"));
}

TEST_F(Ranks, ASignalToTheCommandSavesOnceAndTheRunGoesOn) {
  expect_works(arguments("whole") + ranks(2) + "--max-update 500");
  auto run = start("part", arguments("part") + ranks(2) + "--max-update 500");
  ASSERT_EQ(kill(process(), SIGTERM), 0);
  const auto result = run.get();
  EXPECT_EQ(result.exit_code, 143) << result.err;
  EXPECT_THAT(result.err, HasSubstr("stopped by signal 15"));
  expect_works(arguments("part") + ranks(2) + "--max-update 500");
  EXPECT_EQ(model_file("part"), model_file("whole"));
}

TEST_F(Ranks, OneThatIsKilledEndsTheOthersWithinSeconds) {
  auto run = start("run", arguments("run") + ranks(3) + "--max-update 100000");
  std::istringstream ranks_of_it(
      testing::read_text(fmt::format("/proc/{0}/task/{0}/children", process())));
  int last = 0;
  while (ranks_of_it >> last) continue;
  ASSERT_GT(last, 0);
  kill(last, SIGKILL);
  if (run.wait_for(std::chrono::seconds(60)) != std::future_status::ready) {
    kill(process(), SIGKILL);  // the ranks end with it
    FAIL() << "they go on";
  }
  const auto result = run.get();
  EXPECT_NE(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("signal 9"));
  EXPECT_THAT(result.err, HasSubstr("of 3: the sum of"));
  EXPECT_TRUE(fs::exists(folder_ / "run/checkpoint_last/manifest.json"))
      << "what was trained is saved";
}

TEST_F(Ranks, BadInputIsRefused) {
  expect_refused(train_arguments() + ranks(4000), {"4000 processes on this machine"});
  expect_refused(train_arguments() + ranks(4000) +
                     "--distributed-rank 0 --distributed-init-method tcp://127.0.0.1:9",
                 {"fewer than the 4000 ranks"}, 1);
  expect_refused(train_arguments() + ranks(2) + "--distributed-rank 1",
                 {"--distributed-init-method"});
  expect_refused(train_arguments() + ranks(2) +
                     "--distributed-rank 2 --distributed-init-method "
                     "tcp://127.0.0.1:1",
                 {"rank 2 is not one of 2"});
  expect_refused(train_arguments() + ranks(2) +
                     "--distributed-rank 1 --distributed-init-method tcp://127.0.0.1:9 "
                     "--distributed-timeout 1",
                 {"rank 1 of 2", "tcp://127.0.0.1:9", "Is rank 0 running"}, kLostRanksExit);
  expect_refused(train_arguments() + "--ddp-backend slowmo", {"--ddp-backend", "slowmo"});
  expect_refused(train_arguments() + ranks(2) + "--ddp-backend fully_sharded --optimizer adafactor",
                 {"--optimizer adafactor", "--ddp-backend fully_sharded", "--zero-stage 0"});
  expect_refused(train_arguments() + "--zero-stage 4", {"--zero-stage", "4"});
  // Ranks with other options.
  const auto meet = fmt::format("--distributed-init-method file://{}/meet --distributed-timeout 4 ",
                                folder_.path().string());
  auto first = std::async(std::launch::async, [&] {
    return evomoe(train_arguments() + ranks(2) + meet + "--distributed-rank 0");
  });
  const auto second =
      evomoe(train_arguments() + ranks(2) + meet + "--distributed-rank 1 --dropout 0.3");
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_THAT(second.err, HasSubstr("rank 1 of 2 differs from rank 0: --dropout is '0.3'"));
  EXPECT_NE(first.get().exit_code, 0);
}

}  // namespace
}  // namespace evomoe
