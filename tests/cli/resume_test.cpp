// Going on from a checkpoint: the same numbers as without a stop, or a refusal that says why.
#include <map>

#include "evomoe/report/run_log.h"
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Resume : public Commands {
 protected:
  /// How often each stage was announced in a run's log.
  std::map<std::string, int> stages(const std::string& run) const {
    std::map<std::string, int> count;
    for (const auto& line : read_run_log(folder_ / (run + "/log.jsonl"))) {
      if (line.at("tag") == "stage") ++count[line.at("stage").get<std::string>()];
    }
    return count;
  }
};

TEST_F(Resume, ARunThatIsStoppedAndResumedEndsBitIdentical) {
  for (const auto& method : {std::string("--dropout 0.1 --attention-dropout 0.1 ") + evolution(),
                             std::string("--dropout 0.1 --update-freq 2 --moe-freq 1 "
                                         "--moe-expert-count 4 --moe-top1-expert ")}) {
    ASSERT_EQ(evomoe(train_arguments("whole") + method).exit_code, 0);
    for (const int stop : {5, 8, 9, 19}) {
      const auto run = fmt::format("part{}-{}", stop, method.size());
      ASSERT_EQ(
          evomoe(train_arguments(run) + method + fmt::format("--max-update {}", stop)).exit_code,
          0);
      ASSERT_EQ(evomoe(train_arguments(run) + method).exit_code, 0);
      EXPECT_EQ(model_file(run), model_file("whole")) << "stopped after " << stop;
    }
    std::filesystem::remove_all(folder_ / "whole");
  }
}

TEST_F(Resume, ADecoderOfTodayGoesOnBitIdenticalThroughItsSpawn) {
  const auto arguments = [&](const std::string& run) {
    return fmt::format(
        "train {0}/bin --save-dir {0}/{1} --arch qwen3_moe_tiny --decoder-embed-dim 16 "
        "--decoder-ffn-embed-dim 24 --decoder-head-dim 8 --sliding-window 6 --moe-expert-count 4 "
        "--moe-first-dense-layers 1 --shared-expert-updates 5 --diversify noise "
        "--diversify-ratio 0.1 --tokens-per-sample 16 --batch-size 4 --lr 0.003 --max-update 12 "
        "--log-format none --threads 1 ",
        folder_.path().string(), run);
  };
  const auto whole = evomoe(arguments("whole"));
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  for (const int stop : {3, 5, 7}) {
    const auto run = fmt::format("part{}", stop);
    ASSERT_EQ(evomoe(arguments(run) + fmt::format("--max-update {}", stop)).exit_code, 0);
    ASSERT_EQ(evomoe(arguments(run)).exit_code, 0);
    EXPECT_EQ(model_file(run), model_file("whole")) << "stopped after " << stop;
  }
  expect_refused(arguments("whole") + "--query-key-norm width", {"--query-key-norm head -> width"},
                 1);
  expect_refused(arguments("whole") + "--sliding-window 7", {"--sliding-window 6 -> 7"}, 1);
  const auto last = (folder_ / "whole/checkpoint_last").string();
  expect_refused(
      fmt::format("convert {} --to fairseq --output {}/x.pt", last, folder_.path().string()),
      {"no word for", "--decoder-norm rms_norm", "--moe-first-dense-layers 1"});
  const auto info = evomoe("info " + last);
  EXPECT_THAT(info.out, HasSubstr("--decoder-rotary-pos"));
  EXPECT_THAT(info.out, HasSubstr("--decoder-kv-heads 2"));
}

TEST_F(Resume, ACheckpointOfAnotherArchitectureIsRefused) {
  ASSERT_EQ(evomoe(train_arguments() + "--max-update 2").exit_code, 0);
  expect_refused(train_arguments() + "--decoder-embed-dim 32",
                 {"--decoder-embed-dim 16 -> 32", "--save-dir"}, 1);
  // Where only the weights are taken, the tensors that do not fit are listed.
  const auto other = train_arguments("other") + "--finetune-from-model " +
                     (folder_ / "run/checkpoint_last").string();
  expect_refused(other + " --decoder-embed-dim 32", {"decoder.embed_tokens.weight"}, 1);
  expect_refused(other + " --decoder-layers 3", {"decoder.layers.2"}, 1);
  EXPECT_EQ(evomoe(other).exit_code, 0);
}

TEST_F(Resume, AnotherModelOfTheSameShapesIsRefused) {
  const auto expert = std::string("--moe-freq 2 --moe-expert-count 4 --moe-top1-expert ");
  ASSERT_EQ(evomoe(train_arguments() + expert + "--max-update 2").exit_code, 0);
  expect_refused(train_arguments() + expert + "--decoder-attention-heads 4",
                 {"--decoder-attention-heads 2 -> 4", "--finetune-from-model"}, 1);
  expect_refused(train_arguments() + expert + "--activation-fn relu", {"--activation-fn"}, 1);
  expect_refused(train_arguments() + "--moe-freq 2 --moe-expert-count 4 --moe-router topk",
                 {"--moe-router switch -> topk"}, 1);
}

TEST_F(Resume, AnotherDictionaryOfTheSameSizeIsRefused) {
  ASSERT_EQ(evomoe(train_arguments() + "--max-update 2").exit_code, 0);
  const auto path = folder_ / "bin/dict.txt";
  auto text = testing::read_text(path);
  text.replace(text.find("then"), 4, "than");
  testing::write_text(path, text);
  expect_refused(train_arguments(), {"dictionary has other symbols"}, 1);
}

TEST_F(Resume, OtherBatchesWithinAnEpochAreRefusedUnlessThePositionIsReset) {
  ASSERT_EQ(evomoe(train_arguments() + "--max-update 2").exit_code, 0);
  const auto other = train_arguments() + "--batch-size 2 ";
  expect_refused(other, {"--batch-size 4 -> 2", "--reset-dataloader"}, 1);
  expect_refused(train_arguments() + "--seed 2", {"--seed 1 -> 2", "--reset-dataloader"}, 1);
  const auto result = evomoe(other + "--reset-dataloader --lr 0.001");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("--lr [0.003] -> [0.001]"));
}

TEST_F(Resume, ADamagedOrDanglingLastCheckpointIsNotTakenForANewRun) {
  const auto run = folder_ / "run";
  ASSERT_EQ(
      evomoe(train_arguments() + "--max-update 4 --save-interval-updates 2 --symlink").exit_code,
      0);
  const auto log = testing::read_text(run / "log.jsonl");
  const auto target = run / fs::read_symlink(run / "checkpoint_last");
  fs::rename(target, run / "moved");
  expect_refused(train_arguments(), {"checkpoint_last", target.filename().string()}, 1);
  fs::rename(run / "moved", target);
  const auto manifest = testing::read_text(target / "manifest.json");
  fs::remove(target / "manifest.json");
  expect_refused(train_arguments(), {"manifest.json"}, 1);
  testing::write_text(target / "manifest.json", manifest.substr(0, manifest.size() / 2));
  expect_refused(train_arguments(), {"manifest.json"}, 1);
  EXPECT_EQ(testing::read_text(run / "log.jsonl"), log);
  testing::write_text(target / "manifest.json", manifest);
  EXPECT_EQ(evomoe(train_arguments()).exit_code, 0);
}

TEST_F(Resume, EachStageIsAnnouncedOnce) {
  for (const int stop : {5, 8, 12, 20})
    ASSERT_EQ(
        evomoe(train_arguments() + evolution() + fmt::format("--max-update {}", stop)).exit_code,
        0);
  ASSERT_EQ(evomoe(train_arguments() + evolution()).exit_code, 0);
  EXPECT_EQ(stages("run"), (std::map<std::string, int>{
                               {"shared-expert", 1}, {"dense-to-sparse", 1}, {"sparse", 1}}));
}

TEST_F(Resume, ABrokenModelIsNotSavedOverAGoodOne) {
  const auto save = std::string("--save-interval-updates 1 --keep-interval-updates 1 ");
  ASSERT_EQ(evomoe(train_arguments() + save + "--max-update 2").exit_code, 0);
  const auto good = model_file("run");
  const auto result =
      evomoe(train_arguments() + save + "--lr 1e300 --on-non-finite skip --max-update 6");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("is not finite"));
  EXPECT_EQ(model_file("run"), good);
  EXPECT_EQ(evomoe(train_arguments() + save + "--max-update 6").exit_code, 0);
}

TEST_F(Resume, CountingUpdatesAnewAfterTheSpawnNeedsAScheduleThatBeginsWithTheExperts) {
  ASSERT_EQ(evomoe(train_arguments() + evolution() + "--max-update 12").exit_code, 0);
  expect_refused(train_arguments() + evolution() + "--reset-optimizer",
                 {"--shared-expert-updates 8", "spawned experts", "0 to start a new schedule"}, 1);
  const auto result =
      evomoe(train_arguments() + evolution() + "--reset-optimizer --shared-expert-updates 0");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(stages("run"), (std::map<std::string, int>{{"dense-to-sparse", 1}, {"sparse", 1}}));
  EXPECT_TRUE(fs::exists(folder_ / "run/log.1.jsonl")) << "the first run's log is kept";
  EXPECT_EQ(evomoe("info " + (folder_ / "run/checkpoint_last").string()).exit_code, 0);
}

TEST_F(Resume, TheEndOfARunIsSavedWhateverEndedIt) {
  const auto epochs = train_arguments() + "--max-epoch 1 --save-interval 5 --max-update 0 ";
  ASSERT_EQ(evomoe(epochs).exit_code, 0);
  const auto end = model_file("run");
  const auto again = evomoe(epochs);
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(model_file("run"), end) << "a run that is over is trained on";
  // A second epoch begins with its first batch.
  ASSERT_EQ(
      evomoe(train_arguments("two") + "--max-epoch 2 --save-interval 5 --max-update 0").exit_code,
      0);
  ASSERT_EQ(evomoe(train_arguments() + "--max-epoch 2 --save-interval 5 --max-update 0").exit_code,
            0);
  EXPECT_EQ(model_file("run"), model_file("two"));
}

TEST_F(Resume, TheLastCheckpointAloneLacksTheOptimizerWhateverEndsTheRun) {
  const auto has_optimizer = [&](const std::string& checkpoint) {
    return std::filesystem::exists(folder_ / (checkpoint + "/optimizer.safetensors"));
  };
  const std::string flag = "--no-save-optimizer-state-on-training-finished ";
  ASSERT_EQ(evomoe(train_arguments("epochs") + flag + "--max-epoch 2 --max-update 0").exit_code, 0);
  EXPECT_TRUE(has_optimizer("epochs/checkpoint1"));
  EXPECT_FALSE(has_optimizer("epochs/checkpoint2"));
  EXPECT_FALSE(has_optimizer("epochs/checkpoint_last"));
  ASSERT_EQ(evomoe(train_arguments("lr") + flag +
                   "--lr-scheduler polynomial_decay --total-num-update 10 --stop-min-lr 1e-9 "
                   "--max-update 0")
                .exit_code,
            0);
  EXPECT_FALSE(has_optimizer("lr/checkpoint1"));
  EXPECT_FALSE(has_optimizer("lr/checkpoint_last"));
  ASSERT_EQ(evomoe(train_arguments("updates") + flag + "--save-interval-updates 8").exit_code, 0);
  EXPECT_TRUE(has_optimizer("updates/checkpoint_1_16"));
  EXPECT_FALSE(has_optimizer("updates/checkpoint_last"));
}

TEST_F(Resume, ALogThatCannotBeWrittenCostsNoUpdate) {
  // Files may grow to 64 KiB: enough for the checkpoints, not for the log.
  const auto result = testing::run_command(
      fmt::format("bash -c \"trap '' XFSZ; ulimit -f 64; {} {} --log-interval 1 --max-update 5000 "
                  "--disable-validation\"",
                  testing::program().string(), train_arguments()));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("log.jsonl"));
  const auto manifest = testing::read_text(folder_ / "run/checkpoint_last/manifest.json");
  EXPECT_THAT(manifest, HasSubstr("updates"));
  EXPECT_EQ(evomoe("info " + (folder_ / "run/checkpoint_last").string()).exit_code, 0);
}

TEST_F(Resume, TheRunOfAnotherFolderIsTakenOverOnlyIntoAnEmptyOne) {
  ASSERT_EQ(evomoe(train_arguments("a") + "--max-update 4").exit_code, 0);
  const auto from_a = "--restore-file " + (folder_ / "a/checkpoint_last").string();
  const auto taken = evomoe(train_arguments("b") + from_a);
  EXPECT_EQ(taken.exit_code, 0) << taken.err;
  ASSERT_EQ(evomoe(train_arguments("a")).exit_code, 0);
  EXPECT_EQ(model_file("b"), model_file("a"));
  expect_refused(train_arguments("b") + from_a, {"holds another run", "leave --restore-file out"},
                 1);
}

TEST_F(Resume, TheDefaultRestoreFileMayBeSpelledOut) {
  for (const auto& name :
       {(folder_ / "run/checkpoint_last").string(), std::string("checkpoint_last.pt")}) {
    fs::remove_all(folder_ / "run");
    const auto spelled = train_arguments() + "--restore-file " + name + " ";
    ASSERT_EQ(evomoe(spelled + "--max-update 4").exit_code, 0) << name;
    const auto result = evomoe(spelled + "--max-update 6");
    EXPECT_EQ(result.exit_code, 0) << name;
    EXPECT_THAT(result.err, HasSubstr("goes on from"));
  }
}

TEST_F(Resume, ACheckpointMayBeNamedAsTheReferencesFilesOfExperts) {
  ASSERT_EQ(evomoe(train_arguments() + "--max-update 2").exit_code, 0);
  for (const auto* name : {"checkpoint_last", "checkpoint_last.pt", "checkpoint_last-rank-0.pt"}) {
    const auto result = evomoe(fmt::format("validate {} --path {}", (folder_ / "bin").string(),
                                           (folder_ / "run" / name).string()));
    EXPECT_EQ(result.exit_code, 0) << result.err;
  }
}

TEST_F(Resume, WhatTheArchitectureSaysAnywayMayBeSpelledOut) {
  ASSERT_EQ(evomoe(train_arguments() + "--max-update 2").exit_code, 0);
  EXPECT_EQ(evomoe(train_arguments() + "--max-update 3 --activation-fn gelu").exit_code, 0);
}

TEST_F(Resume, ARunThatRanOutOfPatienceIsOver) {
  const auto patient = train_arguments() + "--lr 0 --patience 2 --max-update 100 ";
  ASSERT_EQ(evomoe(patient).exit_code, 0);
  const auto log = testing::read_text(folder_ / "run/log.jsonl");
  ASSERT_EQ(evomoe(patient).exit_code, 0);
  EXPECT_EQ(testing::read_text(folder_ / "run/log.jsonl"), log);
}

TEST_F(Resume, AnUnknownMetricForTheBestCheckpointIsRefusedBeforeTheFolderIsMade) {
  expect_refused(train_arguments() + "--best-checkpoint-metric los", {"los", "loss, ppl"});
  EXPECT_FALSE(fs::exists(folder_ / "run"));
}

}  // namespace
}  // namespace evomoe
