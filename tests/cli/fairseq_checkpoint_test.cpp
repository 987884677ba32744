// Checkpoints of fairseq where one of ours can stand: fairseq's commands go on with fairseq's
// files.
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

class TheirCheckpoints : public Commands {
 protected:
  static std::string experts() {
    return "--moe-freq 2 --moe-expert-count 4 --moe-top1-expert --dropout 0.1 "
           "--moe-eval-capacity-token-fraction -1 ";
  }

  /// Trains `run` for 9 updates and writes its last checkpoint as theirs: FOLDER/run.pt.
  std::string make(const std::string& run, const std::string& options) {
    EXPECT_EQ(evomoe(train_arguments(run) + options + "--max-update 9").exit_code, 0);
    const auto path = folder_ / (run + ".pt");
    const auto result =
        evomoe(fmt::format("convert {} --to fairseq --output {}",
                           (folder_ / (run + "/checkpoint_last")).string(), path.string()));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return path.string();
  }
};

TEST_F(TheirCheckpoints, ARunGoesOnFromThemAsFromOurs) {
  for (const auto& options : {std::string("--dropout 0.1 "), experts()}) {
    SCOPED_TRACE(options);
    ASSERT_EQ(evomoe(train_arguments("whole") + options).exit_code, 0);
    const auto path = make("part", options);
    const auto result = evomoe(train_arguments("other") + options + "--restore-file " + path);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("9 updates"));
    EXPECT_THAT(result.err, HasSubstr("other than in that run: --max-update 9 -> 24\n"))
        << "theirs says every value, which is no other for that";
    EXPECT_EQ(model_file("other"), model_file("whole"));
    EXPECT_EQ(optimizer_file("other"), optimizer_file("whole"));
    for (const auto* made : {"whole", "part", "part.pt", "other"})
      std::filesystem::remove_all(folder_ / made);
  }
}

TEST_F(TheirCheckpoints, AFolderOfTheirRunsIsGoneOnWithAndOursComesFirstThen) {
  ASSERT_EQ(evomoe(train_arguments("whole") + experts()).exit_code, 0);
  make("part", experts());
  std::filesystem::create_directory(folder_ / "theirs");
  for (const auto* part : {"-shared.pt", "-rank-0.pt"}) {
    std::filesystem::rename(folder_ / (std::string("part") + part),
                            folder_ / (std::string("theirs/checkpoint_last") + part));
  }
  ASSERT_EQ(evomoe(train_arguments("theirs") + experts() + "--max-update 15").exit_code, 0);
  const auto result = evomoe(train_arguments("theirs") + experts());
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("15 updates"));
  EXPECT_EQ(model_file("theirs"), model_file("whole"));
}

TEST_F(TheirCheckpoints, InfoTellsOfThemWhatItTellsOfOurs) {
  for (const auto& options : {std::string(), experts()}) {
    SCOPED_TRACE(options);
    const auto path = make("part", options);
    const auto info = [&](const std::string& checkpoint) {
      const auto result = evomoe("info --log-format json " + checkpoint);
      EXPECT_EQ(result.exit_code, 0) << result.err;
      return nlohmann::json::parse(result.out);
    };
    const auto ours = info((folder_ / "part/checkpoint_last").string());
    // Without its data, of which nothing is told.
    std::filesystem::rename(folder_ / "bin", folder_ / "elsewhere");
    const auto theirs = info(path);
    const auto text = evomoe("info " + path);
    std::filesystem::rename(folder_ / "elsewhere", folder_ / "bin");
    for (const auto* key : {"updates", "parameters", "evolution"})
      EXPECT_EQ(theirs.at(key), ours.at(key)) << key;
    EXPECT_THAT(text.out, HasSubstr("vocabulary"));
    for (const auto* made : {"part", "part.pt"}) std::filesystem::remove_all(folder_ / made);
  }
}

TEST_F(TheirCheckpoints, EvaluationReadsThem) {
  const auto path = make("part", experts());
  const auto data = " " + (folder_ / "bin").string() + " ";
  for (const std::string command :
       {"eval-lm --gen-subset valid", "validate --valid-subset valid"}) {
    const auto line = [&](const std::string& checkpoint) {
      const auto result = evomoe(command + data + "--threads 1 --path " + checkpoint);
      EXPECT_EQ(result.exit_code, 0) << result.err;
      // Neither the time nor the speed.
      const auto begin = std::min(result.out.find("valid"), result.out.size());
      return result.out.substr(begin, result.out.find("wps") - begin);
    };
    const auto ours = line((folder_ / "part/checkpoint_last").string());
    EXPECT_FALSE(ours.empty());
    EXPECT_EQ(line(path), ours) << command;
  }
}

TEST_F(TheirCheckpoints, WithAllResetsOnlyTheWeightsAreTaken) {
  const auto path = make("part", "");
  ASSERT_EQ(evomoe(train_arguments("a") + experts() + "--finetune-from-model " + path).exit_code,
            0);
  ASSERT_EQ(evomoe(train_arguments("b") + experts() + "--restore-file " + path +
                   " --reset-optimizer --reset-dataloader --reset-meters")
                .exit_code,
            0);
  EXPECT_EQ(model_file("a"), model_file("b"));
}

TEST_F(TheirCheckpoints, ConvertKeepsWhatTheRunSavesAndWhichIsItsBest) {
  const std::string best =
      "--best-checkpoint-metric ppl --maximize-best-checkpoint-metric --keep-interval-updates 3 "
      "--symlink --patience 50 ";
  const auto path = make("part", best);
  ASSERT_EQ(evomoe(fmt::format("convert {} --output {} --data {}", path,
                               (folder_ / "made").string(), (folder_ / "bin").string()))
                .exit_code,
            0);
  const auto config = testing::read_text(folder_ / "made/config.yaml");
  EXPECT_THAT(config, HasSubstr("best_checkpoint_metric: \"ppl\""));
  EXPECT_THAT(config, HasSubstr("maximize_best_checkpoint_metric: true"));
  EXPECT_THAT(config, HasSubstr("keep_interval_updates: 3"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "made/checkpoint_best")) << "nobody knows";
  const auto best_of = [&](const std::string& run) {
    const auto manifest = testing::read_text(folder_ / (run + "/checkpoint_last/manifest.json"));
    return nlohmann::json::parse(manifest).at("sections").at("checkpoint").at("best");
  };
  EXPECT_EQ(best_of("made"), best_of("part"));
}

TEST_F(TheirCheckpoints, ADamagedOneOfOursIsNotPassedOverForTheirs) {
  ASSERT_EQ(evomoe(train_arguments("run") + "--max-update 9").exit_code, 0);
  ASSERT_EQ(evomoe(fmt::format("convert {0}/checkpoint_last --to fairseq --output "
                               "{0}/checkpoint_last.pt",
                               (folder_ / "run").string()))
                .exit_code,
            0);
  std::filesystem::remove(folder_ / "run/checkpoint_last/manifest.json");
  expect_refused(train_arguments("run"), {"checkpoint_last"}, 1);
  std::filesystem::remove_all(folder_ / "run/checkpoint_last");
  EXPECT_EQ(evomoe(train_arguments("run")).exit_code, 0) << "theirs is the only one";
}

TEST_F(TheirCheckpoints, ANameMayBeOneInTheCurrentFolderButNotTheDefaultOne) {
  make("part", "");
  std::filesystem::copy(folder_ / "part.pt", folder_ / "checkpoint_last.pt");
  const auto here = [&](const std::string& arguments) {
    return testing::run_command("cd " + folder_.path().string() + " && " +
                                testing::program().string() + " " + arguments);
  };
  const auto named = here(train_arguments("named") + "--restore-file part.pt");
  EXPECT_THAT(named.err, HasSubstr("goes on from"));
  const auto anew = here(train_arguments("anew"));
  EXPECT_EQ(anew.exit_code, 0) << anew.err;
  EXPECT_THAT(anew.err, ::testing::Not(HasSubstr("goes on from")));
}

TEST_F(TheirCheckpoints, SeveralOfOneNameAreRefused) {
  make("part", "");
  std::filesystem::copy(folder_ / "part.pt", folder_ / "part-shared.pt");
  expect_refused(train_arguments("other") + "--restore-file " + (folder_ / "part.pt").string(),
                 {"part.pt", "part-shared.pt", "move"}, 1);
}

TEST_F(TheirCheckpoints, WhatDoesNotFitIsRefused) {
  const auto path = make("part", experts());
  expect_refused(train_arguments("other") + "--restore-file " + path,
                 {"part.pt", "--moe-freq 2 -> 0"}, 1);
  expect_refused(train_arguments("other") + experts() + "--batch-size 2 --restore-file " + path,
                 {"--batch-size 4 -> 2", "--reset-dataloader"}, 1);
  expect_refused(train_arguments("other") + "--restore-file nowhere.pt",
                 {"nowhere.pt", "current folder"}, 1);
  std::filesystem::remove(folder_ / "part-rank-0.pt");
  expect_refused("eval-lm " + (folder_ / "bin").string() + " --path " + path, {"part-rank-0.pt"},
                 1);
}

}  // namespace
}  // namespace evomoe
