// --memory-budget: what is recomputed so that a run fits, and the report of where memory goes.
#include "evomoe/report/run_log.h"
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class MemoryBudget : public Commands {
 protected:
  /// Large enough for the choices to be far apart, some ten MiB each.
  std::string large() const {
    return train_arguments() + evolution() +
           "--dropout 0.1 --decoder-ffn-embed-dim 512 --batch-size 256 --required-batch-size-"
           "multiple 1 --disable-validation --max-update 12 --update-freq 1 ";
  }

  nlohmann::ordered_json record(const std::string& run, const std::string& tag) const {
    for (const auto& line : read_run_log(folder_ / (run + "/log.jsonl"))) {
      if (line.at("tag") == tag) return line;
    }
    ADD_FAILURE() << run << " has no " << tag;
    return {};
  }

  /// The estimate of a run, in bytes, with these flags.
  int64_t estimate(const std::string& flags) const {
    const auto result = evomoe(large() + "--max-update 1 --memory-budget 1T " + flags);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const auto total = record("run", "memory_plan").at("estimate").at("total").get<int64_t>();
    fs::remove_all(folder_ / "run");
    return total;
  }
};

TEST_F(MemoryBudget, IsKeptByRecomputingWhichChangesNoResult) {
  ASSERT_EQ(evomoe(large() + "--save-dir " + (folder_ / "free").string()).exit_code, 0);
  const auto nothing = estimate(""), experts = estimate("--recompute-experts"),
             blocks = estimate("--checkpoint-activations"),
             both = estimate("--checkpoint-activations --recompute-experts");
  ASSERT_GT(nothing, experts);
  ASSERT_GT(std::min(experts, blocks), both);
  // Between two choices. What the process takes without a model differs a little between calls.
  const std::vector<std::pair<int64_t, std::pair<bool, bool>>> table = {
      {(nothing + experts) / 2, {true, false}},
      {(std::min(experts, blocks) + both) / 2, {true, true}}};
  for (const auto& [budget, recompute] : table) {
    const auto result = evomoe(large() + fmt::format("--memory-budget {}K", budget / 1024));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("recomputes"));
    EXPECT_THAT(result.err, HasSubstr("--recompute-experts"));
    const auto plan = record("run", "memory_plan");
    EXPECT_EQ(plan.at("recompute_experts"), recompute.first);
    EXPECT_EQ(plan.at("checkpoint_activations"), recompute.second);
    EXPECT_LE(plan.at("estimate").at("total"), plan.at("budget"));
    EXPECT_EQ(model_file("run"), model_file("free"));
    EXPECT_EQ(optimizer_file("run"), optimizer_file("free"));
    // The options of the run stay those that were given.
    EXPECT_THAT(testing::read_text(folder_ / "run/config.yaml"),
                HasSubstr("recompute_experts: false"));
    fs::remove_all(folder_ / "run");
  }
}

TEST_F(MemoryBudget, TheReportAddsUp) {
  const auto result = evomoe(large() + "--memory-budget 1T");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("memory, estimated: "));
  EXPECT_THAT(result.err, HasSubstr("memory, at its peak: "));
  const auto plan = record("run", "memory_plan").at("estimate");
  const auto peak = record("run", "memory_peak");
  int64_t sum = 0;
  for (const auto& [part, bytes] : plan.items()) sum += part == "total" ? 0 : bytes.get<int64_t>();
  EXPECT_EQ(sum, plan.at("total"));
  sum = 0;
  for (const auto* part :
       {"program", "parameters", "gradients", "moments", "activations_and_workspace"}) {
    EXPECT_GT(peak.at(part), 0) << part;
    sum += peak.at(part).get<int64_t>();
  }
  EXPECT_EQ(sum, peak.at("total"));
  // After the spawn; the constant table of positions is counted with the parameters.
  EXPECT_EQ(peak.at("gradients"), plan.at("gradients"));
  EXPECT_GE(plan.at("parameters"), peak.at("parameters"));
}

TEST_F(MemoryBudget, EveryTaskIsPlanned) {
  const auto folder = folder_.path().string();
  std::string labels;
  for (const char c : testing::read_text(folder_ / "train.txt")) labels += c == '\n' ? "0.5\n" : "";
  fs::create_directories(folder_ / "rows/label");
  testing::write_text(folder_ / "rows/label/train.label", labels);
  fs::copy(folder_ / "bin", folder_ / "rows/input0");
  for (const auto* side : {"a", "b"})
    fs::copy(folder_ / "train.txt", folder_ / (std::string("pair.") + side));
  const auto made = evomoe(fmt::format(
      "preprocess -s a -t b --trainpref {0}/pair --joined-dictionary --destdir {0}/pairs", folder));
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const std::string encoder =
      "--encoder-layers 2 --encoder-embed-dim 32 --encoder-ffn-embed-dim 256 "
      "--encoder-attention-heads 2 ";
  const std::vector<std::pair<std::string, std::string>> tasks = {
      {"bin", "--task masked_lm --criterion masked_lm --arch roberta_base --tokens-per-sample 16 "},
      {"rows",
       "--task sentence_prediction --criterion sentence_prediction --arch roberta_base "
       "--regression-target --num-classes 1 "},
      {"pairs",
       "--task translation --arch transformer --share-all-embeddings --decoder-layers 2 "
       "--decoder-embed-dim 32 --decoder-ffn-embed-dim 256 --decoder-attention-heads 2 "}};
  for (const auto& [data, flags] : tasks) {
    SCOPED_TRACE(flags);
    const auto command = fmt::format(
        "train {0}/{1} --save-dir {0}/run --batch-size 64 --lr 0.001 --max-update 4 --log-format "
        "none --threads 1 --disable-validation --moe-freq 2 --moe-expert-count 4 "
        "--moe-top1-expert ",
        folder, data);
    const auto result = evomoe(command + encoder + flags + "--memory-budget 1T");
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const auto plan = record("run", "memory_plan").at("estimate");
    const auto peak = record("run", "memory_peak");
    EXPECT_EQ(peak.at("gradients"), plan.at("gradients"));
    EXPECT_GE(plan.at("parameters"), peak.at("parameters"));
    EXPECT_LE(peak.at("total"), plan.at("total"));
    fs::remove_all(folder_ / "run");
  }
}

TEST_F(MemoryBudget, AResumedRunPlansAnew) {
  ASSERT_EQ(evomoe(large() + "--max-update 6 --memory-budget 1T").exit_code, 0);
  ASSERT_EQ(evomoe(large() + "--save-dir " + (folder_ / "free").string()).exit_code, 0);
  const auto total = record("run", "memory_plan").at("estimate").at("total").get<int64_t>();
  const auto result = evomoe(large() + fmt::format("--memory-budget {}K", total / 1024 * 9 / 10));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("goes on from"));
  EXPECT_THAT(result.err, HasSubstr("--recompute-experts"));
  EXPECT_THAT(result.err, Not(HasSubstr("-> true"))) << "no option of the run has changed";
  EXPECT_EQ(model_file("run"), model_file("free"));
}

TEST_F(MemoryBudget, WithoutOneOnlyThePeakIsTold) {
  const auto result = evomoe(train_arguments());
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, Not(HasSubstr("memory, estimated")));
  EXPECT_THAT(result.err, HasSubstr("memory, at its peak: "));
  for (const auto& line : read_run_log(folder_ / "run/log.jsonl"))
    EXPECT_THAT(line.at("tag").get<std::string>(), Not(HasSubstr("memory")));
}

TEST_F(MemoryBudget, WhatCannotBeIsRefusedBeforeTheRunBegins) {
  expect_refused(train_arguments() + "--memory-budget 10M",
                 {"--memory-budget 10.00 MiB", "program", "moments", "Raise it"});
  expect_refused(train_arguments() + "--memory-budget 8X", {"--memory-budget", "'8X'", "8G"});
  expect_refused(train_arguments() + "--memory-budget 0", {"--memory-budget", "'0'"});
  EXPECT_FALSE(fs::exists(folder_ / "run"));
}

TEST_F(MemoryBudget, MomentsOnDiskAreNotInItAndChangeNoResult) {
  // A width whose moments are worth files.
  const auto wide = large() + "--decoder-ffn-embed-dim 4096 --batch-size 32 --max-update 10 ";
  const auto offload = fmt::format("--offload-moments {} ", folder_.path().string());
  ASSERT_EQ(evomoe(wide).exit_code, 0);
  const auto model = model_file("run"), optimizer = optimizer_file("run");
  fs::remove_all(folder_ / "run");
  const auto result =
      evomoe(wide + offload + "--memory-budget 4G --write-checkpoints-asynchronously");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(model_file("run"), model);
  EXPECT_EQ(optimizer_file("run"), optimizer);
  // Those of small parameters stay: less than a quarter of twice the gradients.
  const auto planned = record("run", "memory_plan").at("estimate");
  EXPECT_LT(planned.at("moments").get<int64_t>(), planned.at("gradients").get<int64_t>() / 2);
  EXPECT_EQ(record("run", "memory_plan").at("estimate").at("snapshot").get<int64_t>(), 0);
  const auto peak = record("run", "memory_peak");
  EXPECT_LT(peak.at("moments").get<int64_t>(), peak.at("gradients").get<int64_t>() / 2);
  expect_refused(wide + "--save-dir " + (folder_ / "new").string() + " --offload-moments /nowhere",
                 {"--offload-moments /nowhere"});
}

}  // namespace
}  // namespace evomoe
