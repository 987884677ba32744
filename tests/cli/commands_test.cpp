// The program as a user types it.
#include "evomoe/checkpoint/xxhash64.h"
#include "evomoe/report/run_log.h"
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

TEST_F(Commands, AnEvolutionGoesThroughAllItsStagesAndEndsSparse) {
  ASSERT_EQ(evomoe(train_arguments() + evolution()).exit_code, 0);
  std::vector<std::string> stages;
  double first_active = 0, last_active = 0;
  for (const auto& line : read_run_log(folder_ / "run/log.jsonl")) {
    if (line.at("tag") == "stage") stages.push_back(line.at("stage"));
    if (line.at("tag") == "train_inner" && line.at("completed_updates") == 12)
      first_active = line.at("active_experts");
    if (line.at("tag") == "train_inner") last_active = line.at("active_experts");
  }
  EXPECT_THAT(stages, ::testing::ElementsAre("shared-expert", "dense-to-sparse", "sparse"));
  EXPECT_GT(first_active, 1.5);
  EXPECT_EQ(last_active, 1.0);
}

TEST_F(Commands, CheckpointedActivationsAndRecomputedExpertsChangeNothing) {
  const auto method = evolution() + "--dropout 0.1 ";
  ASSERT_EQ(evomoe(train_arguments("plain") + method).exit_code, 0);
  ASSERT_EQ(evomoe(train_arguments("recomputed") + method +
                   "--checkpoint-activations --recompute-experts")
                .exit_code,
            0);
  EXPECT_EQ(model_file("plain"), model_file("recomputed"));
}

TEST_F(Commands, ValidateEvalLmGenerateAndInfoWorkFromACheckpoint) {
  ASSERT_EQ(evomoe(train_arguments() + evolution()).exit_code, 0);
  const auto path = (folder_ / "run/checkpoint_last").string();
  const auto data = (folder_ / "bin").string();
  double logged = 0;
  for (const auto& line : read_run_log(folder_ / "run/log.jsonl")) {
    if (line.at("tag") == "valid") logged = line.at("valid_perplexity");
  }
  const auto validated = evomoe(fmt::format("validate {} --path {} --log-format json", data, path));
  EXPECT_EQ(validated.exit_code, 0) << validated.err;
  const auto line = nlohmann::json::parse(validated.out.substr(validated.out.find('{')));
  EXPECT_NEAR(line.at("valid_perplexity").get<double>(), logged, 1e-3);
  const auto scored =
      evomoe(fmt::format("eval-lm {} --path {} --gen-subset valid --log-format json", data, path));
  EXPECT_EQ(scored.exit_code, 0) << scored.err;
  EXPECT_NEAR(nlohmann::json::parse(scored.out).at("perplexity").get<double>(), logged,
              0.02 * logged);
  const auto rounded = evomoe(fmt::format(
      "eval-lm {} --path {} --gen-subset valid --log-format json --dtype bfloat16", data, path));
  EXPECT_EQ(rounded.exit_code, 0) << rounded.err;
  EXPECT_NE(rounded.out, scored.out);
  EXPECT_NEAR(nlohmann::json::parse(rounded.out).at("perplexity").get<double>(), logged,
              0.02 * logged);
  const auto windowed = evomoe(
      fmt::format("eval-lm {} --path {} --gen-subset valid --context-window 8 --output-word-probs",
                  data, path));
  EXPECT_EQ(windowed.exit_code, 0) << windowed.err;
  const auto generate =
      fmt::format("generate --path {} --prompt 'the w4 sees' --max-len 12 ", path);
  const auto greedy = evomoe(generate);
  EXPECT_EQ(greedy.exit_code, 0) << greedy.err;
  EXPECT_THAT(greedy.out, HasSubstr("the w4 sees"));
  const auto narrow = evomoe(generate + "--dtype bfloat16");
  EXPECT_EQ(narrow.exit_code, 0) << narrow.err;
  EXPECT_THAT(narrow.out, HasSubstr("the w4 sees"));
  EXPECT_EQ(evomoe(generate + "--sampling --sampling-topk 5 --seed 3").out,
            evomoe(generate + "--sampling --sampling-topk 5 --seed 3").out);
  const auto info = evomoe("info " + path);
  EXPECT_EQ(info.exit_code, 0) << info.err;
  EXPECT_THAT(info.out, HasSubstr("sparse"));
  const auto table = evomoe(fmt::format("compare {}", (folder_ / "run").string()));
  EXPECT_EQ(table.exit_code, 0) << table.err;
}

TEST_F(Commands, InfoTellsOfTheMachineOrOfACheckpoint) {
  const auto machine = evomoe("info --machine");
  EXPECT_EQ(machine.exit_code, 0) << machine.err;
  EXPECT_THAT(machine.out, ::testing::AllOf(HasSubstr("processor"), HasSubstr("matrix products"),
                                            HasSubstr("LibTorch")));
  const auto json = nlohmann::json::parse(evomoe("info --machine --log-format json").out);
  EXPECT_EQ(json.at("LibTorch"), TORCH_VERSION);
  expect_refused("info", {"evomoe info CHECKPOINT", "evomoe info --machine"});
  expect_refused("info checkpoint_last --machine", {"give one of them"});
}

TEST_F(Commands, AMissingSplitOrCheckpointIsNamedWithTheRemedy) {
  ASSERT_EQ(evomoe(train_arguments() + "--max-update 2").exit_code, 0);
  const auto data = (folder_ / "bin").string(), run = (folder_ / "run").string();
  const auto validate = fmt::format("validate {} --path {}/", data, run);
  expect_refused(validate + "checkpoint_last --valid-subset dev",
                 {"`dev`", "there are: train, valid", "--valid-subset"}, 1);
  expect_refused(validate + "checkpoint9",
                 {"there is no checkpoint at", "checkpoint9", "checkpoint_last"}, 1);
  for (const auto* suffix : {".bin", ".idx"})
    std::filesystem::remove(folder_ / (std::string("bin/valid") + suffix));
  expect_refused(train_arguments("other"),
                 {"`valid`", "there are: train", "--valid-subset", "--disable-validation"}, 1);
}

TEST_F(Commands, ACheckpointOfAnEarlierBuildIsRefusedByItsPathAndVersion) {
  ASSERT_EQ(evomoe(train_arguments() + "--max-update 2").exit_code, 0);
  const auto last = (folder_ / "run/checkpoint_last").string();
  auto text = testing::read_text(last + "/manifest.json");
  text = text.substr(text.find('\n') + 1);
  const std::string now = "\"version\": 2";
  const auto at = text.find(now);
  ASSERT_NE(at, std::string::npos);
  const auto forge = [&](const std::string& body) {
    testing::write_text(
        last + "/manifest.json",
        fmt::format("{{\"xxh64_of_the_lines_below\": \"{:016x}\",\n{}", xxhash64(body), body));
  };
  const auto data = (folder_ / "bin").string();
  const auto refused = [&](const std::string& what) {
    for (const auto& command : {fmt::format("validate {} --path {}", data, last), "info " + last,
                                fmt::format("generate --path {} --prompt the", last)}) {
      expect_refused(command, {last, what, "--init-from"}, 1);
      EXPECT_THAT(evomoe(command).err, ::testing::Not(HasSubstr("json.exception")));
    }
  };
  auto older = text;
  forge(older.replace(at, now.size(), "\"version\": 1"));
  refused("format version 1");
  auto lacking = text;
  const std::string vocabulary = "\"vocabulary\"";
  forge(lacking.replace(lacking.find(vocabulary), vocabulary.size(), "\"words\""));
  refused("'vocabulary'");
}

TEST_F(Commands, WrongUseIsRefusedWithTheRemedy) {
  expect_refused("tarin", {"tarin", "train"});
  expect_refused(train_arguments() + "--decoder-layer 3", {"--decoder-layer", "--decoder-layers"});
  expect_refused(train_arguments() + "--lr fast", {"--lr", "fast"});
  expect_refused(train_arguments() + "--moe-freq 2", {"--moe-freq", "--moe-expert-count"});
  expect_refused(
      train_arguments() + "--moe-freq 2 --moe-expert-count 4 --moe-router topk --moe-k 5", {"5"});
  expect_refused(train_arguments() + evolution() + "--min-temperature 3", {"--min-temperature"});
  expect_refused(train_arguments() + evolution() + "--max-temperature 0", {"--max-temperature"});
  expect_refused(train_arguments() + evolution() + "--switch-to-hard-gumbel-softmax -5",
                 {"--switch-to-hard-gumbel-softmax"});
  expect_refused(train_arguments() + "--arch gpt5", {"gpt5", "transformer_lm_gpt"});
}

TEST_F(Commands, DamagedDataIsRefused) {
  const auto bin = folder_.path() / "bin";
  expect_refused(fmt::format("train {}/nothing --batch-size 2 --max-update 1 --save-dir {}/r",
                             folder_.path().string(), folder_.path().string()),
                 {"nothing"}, 1);
  const auto idx = testing::read_text(bin / "train.idx");
  testing::write_text(bin / "train.idx", idx.substr(0, idx.size() / 2));
  expect_refused(train_arguments(), {"train.idx"}, 1);
  testing::write_text(bin / "train.idx", "");
  expect_refused(train_arguments(), {"train.idx"}, 1);
  testing::write_text(bin / "train.idx", "this is a text, and no index at all");
  expect_refused(train_arguments(), {"train.idx"}, 1);
  testing::write_text(bin / "train.idx", idx);
  testing::write_text(bin / "dict.txt", "the 1\n");
  expect_refused(train_arguments(), {"train"}, 1);
}

TEST_F(Commands, ARunFolderThatCannotBeWrittenIsRefused) {
  testing::write_text(folder_ / "file", "");
  expect_refused(train_arguments("file/run"), {"file/run"}, 1);
}

TEST_F(Commands, ASignalWritesACheckpointAndTheRunGoesOn) {
  const auto long_run = train_arguments("signalled") + "--max-update 100000 ";
  const auto result = testing::run_command(fmt::format(
      "{0} {1} & pid=$!; timeout 60 sh -c 'while [ ! -s {2}/log.jsonl ]; do sleep 0.02; done'; "
      "kill -TERM $pid; wait $pid",
      testing::program().string(), long_run, (folder_ / "signalled").string()));
  EXPECT_EQ(result.exit_code, 143) << result.err;
  EXPECT_TRUE(std::filesystem::exists(folder_ / "signalled/checkpoint_last/manifest.json"));
}

}  // namespace
}  // namespace evomoe
