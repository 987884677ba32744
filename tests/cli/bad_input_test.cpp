// Wrong input to the real program: each is refused by name, with the remedy, and before any work.
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class BadInput : public Commands {
 protected:
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
};

TEST_F(BadInput, AMissingEmptyTruncatedOrForeignDataFileIsRefused) {
  const auto bin = folder_ / "bin/train.bin";
  const auto original = testing::read_text(bin);
  fs::remove(bin);
  expect_refused(train_arguments(), {"train.bin", "cannot open"}, 1);
  testing::write_text(bin, "");
  expect_refused(train_arguments(), {"train.bin", "0 bytes", "evomoe preprocess"}, 1);
  testing::write_text(bin, original.substr(0, original.size() / 2));
  expect_refused(train_arguments(), {"train.bin", "cut", "evomoe preprocess"}, 1);
  testing::write_text(bin, std::string(original.size(), 'x'));  // of the right size
  expect_refused(train_arguments(), {"bin/train", "token 30840", "dict.txt"}, 1);
  EXPECT_FALSE(fs::exists(folder_ / "run/checkpoint_last")) << "no update was made";
  fs::remove(folder_ / "bin/train.idx");
  fs::remove(bin);
  expect_refused(train_arguments(), {"`train`", "valid"}, 1);
}

TEST_F(BadInput, AFileForAFolderAndAFolderForAFileAreToldApart) {
  const auto file = at("train.txt"), folder = at("bin");
  expect_refused("train " + file + " --batch-size 4", {file, "it is a file", "evomoe preprocess"},
                 1);
  expect_refused("train " + at("none") + " --batch-size 4", {at("none"), "there is no such"}, 1);
  expect_refused(train_arguments() + "--init-from " + folder, {folder, "it is a folder"}, 1);
  expect_refused("preprocess --only-source --trainpref " + folder + " --destdir " + at("new"),
                 {folder, "it is a folder of data", "train.idx"}, 1);
  expect_refused("bpe train " + file + " --destdir " + file,
                 {file + ": Not a directory", "check the path"}, 1);
}

TEST_F(BadInput, WithoutMemoryTheRemediesAreOptionsOfTheCommand) {
  // A weight of four TiB.
  const auto result = testing::run_command(
      "ASAN_OPTIONS=allocator_may_return_null=1 " + testing::program().string() + " " +
      train_arguments() + "--decoder-embed-dim 1048576 --decoder-attention-heads 1");
  EXPECT_EQ(result.exit_code, 1) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("out of memory"), HasSubstr("lower --batch-size"),
                                HasSubstr("give --checkpoint-activations")));
}

TEST_F(BadInput, ATokenBeyondTheDictionaryIsRefusedAtTheStart) {
  const auto dictionary = testing::read_text(folder_ / "bin/dict.txt");
  testing::write_text(folder_ / "bin/dict.txt", dictionary.substr(0, dictionary.find('\n') + 1));
  expect_refused(train_arguments(), {"bin/train", "token", "the dictionary has 5 symbols"}, 1);
  EXPECT_FALSE(fs::exists(folder_ / "run/log.jsonl"));
  testing::write_text(folder_ / "bin/dict.txt", "");
  expect_refused(train_arguments(), {"dict.txt", "no symbol"}, 1);
}

TEST_F(BadInput, ABatchLargerThanTheDataIsOneBatch) {
  const auto result = evomoe(train_arguments() +
                             "--batch-size 100000 --required-batch-size-multiple 1 "
                             "--max-update 0 --max-epoch 2");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("1 batches per epoch"), HasSubstr("2 updates")));
}

TEST_F(BadInput, OutputThatCannotBeWrittenIsAnError) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  for (const std::string arguments : {"--version", "options --man", "info --machine"}) {
    const auto result = testing::run_command(
        fmt::format("sh -c '{} {} >/dev/full'", testing::program().string(), arguments));
    EXPECT_EQ(result.exit_code, 1) << arguments;
    EXPECT_THAT(result.err, ::testing::HasSubstr("No space left on device")) << arguments;
  }
}

TEST_F(BadInput, ASequenceLongerThanThePositionsIsRefusedAtTheStart) {
  expect_refused(train_arguments() + "--max-target-positions 8",
                 {"--tokens-per-sample 16", "--max-target-positions 8"});
  std::string longest;
  for (int i = 0; i < 40; ++i) longest += "the ";
  // The last line fills the positions when it has context.
  testing::write_text(folder_ / "valid.txt",
                      "the w4\n" + longest + "\n" + longest.substr(0, 4 * 13) + "\n");
  ASSERT_EQ(evomoe(fmt::format("preprocess --only-source --trainpref {0}/train.txt --validpref "
                               "{0}/valid.txt --destdir {0}/long",
                               folder_.path().string()))
                .exit_code,
            0);
  fs::remove_all(folder_ / "bin");
  fs::rename(folder_ / "long", folder_ / "bin");
  expect_refused(train_arguments() + "--sample-break-mode eos",
                 {"valid", "item 1 has 41 tokens", "16 positions"}, 1);
  EXPECT_FALSE(fs::exists(folder_ / "run/log.jsonl"));
  // The flag that the message names is taken where the message comes from.
  const auto trained =
      evomoe(train_arguments() + "--sample-break-mode eos --max-update 1 --disable-validation");
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  const auto evaluation =
      fmt::format("{0}/bin --path {0}/run/checkpoint_last --threads 1 ", folder_.path().string());
  const std::string skip = "--skip-invalid-size-inputs-valid-test";
  expect_refused("validate " + evaluation, {"item 1 has 41 tokens", skip}, 1);
  // As in fairseq, eval-lm leaves them out without it.
  for (const auto& command :
       {"validate " + evaluation + skip,
        "eval-lm " + evaluation + "--gen-subset valid --context-window 4 --output-word-probs"}) {
    const auto result = evomoe(command);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(
        result.err,
        HasSubstr("1 longer than the model's 16 positions (item 1 has 41 tokens); left out"));
  }
}

TEST_F(BadInput, MoreExpertsPerTokenThanThereAreIsRefused) {
  expect_refused(
      train_arguments() + "--moe-freq 2 --moe-expert-count 4 --moe-router topk --moe-k 5",
      {"--moe-k 5", "4"});
}

TEST_F(BadInput, ARunFolderInUseByAnotherProcessIsRefused) {
  const auto other = train_arguments() + "--max-update 100000";
  const auto program = testing::program().string();
  const auto result =
      testing::run_command(fmt::format("{0} {1} & pid=$!; "
                                       "timeout 60 sh -c 'while [ ! -s {2}/log.jsonl ]; do sleep "
                                       "0.02; done'; {0} {3} ; code=$?; echo $pid; "
                                       "kill -KILL $pid; exit $code",
                                       program, other, at("run"), train_arguments()));
  EXPECT_EQ(result.exit_code, 1);
  const auto pid = result.out.substr(0, result.out.find('\n'));
  EXPECT_THAT(result.err, AllOf(HasSubstr("is in use by process " + pid), HasSubstr("--save-dir")));
}

TEST_F(BadInput, ADamagedLastCheckpointStopsTheRunAndNamesAnother) {
  const auto again = train_arguments() + "--max-update 4 --save-interval-updates 2 ";
  ASSERT_EQ(evomoe(train_arguments() + "--max-update 2 --save-interval-updates 2").exit_code, 0);
  const auto last = folder_ / "run/checkpoint_last";
  const auto log = testing::read_text(folder_ / "run/log.jsonl");
  fs::remove(last / "manifest.json");
  testing::write_text(last / "manifest.json", "{}");
  expect_refused(again, {"checkpoint_last/manifest.json", "newest first: ", "checkpoint_1_2"}, 1);
  fs::remove_all(last);
  fs::create_directory_symlink("checkpoint_gone", last);
  expect_refused(
      again, {"a link to checkpoint_gone, which is missing", "newest first: ", "checkpoint_1_2"},
      1);
  EXPECT_EQ(testing::read_text(folder_ / "run/log.jsonl"), log) << "the run is as it was";
  fs::remove(last);
  const auto resumed = evomoe(again + "--restore-file checkpoint_1_2");
  EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("goes on from"));
}

TEST_F(BadInput, AnInterruptWritesACheckpointAndEndsWith130) {
  const auto long_run = train_arguments() + "--max-update 100000 ";
  const auto result =
      testing::run_command(fmt::format("{0} {1} & pid=$!; "
                                       "timeout 60 sh -c 'while [ ! -s {2}/log.jsonl ]; do sleep "
                                       "0.02; done'; kill -INT $pid; wait $pid",
                                       testing::program().string(), long_run, at("run")));
  EXPECT_EQ(result.exit_code, 130) << result.err;
  EXPECT_TRUE(fs::exists(folder_ / "run/checkpoint_last/manifest.json"));
}

TEST_F(BadInput, AMisspeltCommandIsSuggested) {
  expect_refused("trian", {"'trian' is no command (did you mean 'train'?)"});
  expect_refused("evaluate",
                 {"'evaluate' is no command; there are: bench, bpe, compare, convert, eval-lm"});
  EXPECT_THAT(evomoe("--help").out, HasSubstr("  options "));
}

TEST_F(BadInput, AConfigurationThatIsNoFileOfOptionsIsRefused) {
  expect_refused(train_arguments() + "--config " + at("bin"), {"folder", "bin/config.yaml"});
  testing::write_text(folder_ / "nested.yaml", "lr:\n  first: 0.1\n");
  expect_refused(train_arguments() + "--config " + at("nested.yaml"),
                 {"nested.yaml:1: lr", "a single value or a list"});
}

TEST_F(BadInput, NumbersBeyondAllReasonAreRefused) {
  expect_refused(train_arguments() + "--lr-scheduler cosine --lr-period-updates 0.5",
                 {"--lr-period-updates", "0.5", "an integer"});
  expect_refused(fmt::format("preprocess --only-source --trainpref {0}/train.txt --destdir {0}/new "
                             "--padding-factor 1000000000000",
                             folder_.path().string()),
                 {"--padding-factor", "1000000000000", "from 1 to 65536"});
}

TEST_F(BadInput, FlagsThatMeanNothingHereAreAcceptedWithTheReason) {
  const auto result =
      evomoe(train_arguments() + "--max-update 1 --reset-lr-scheduler --fixed-validation-seed 7");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("--reset-lr-scheduler: accepted without effect"));
  EXPECT_THAT(result.err, HasSubstr("--fixed-validation-seed 7: accepted without effect"));
}

TEST_F(BadInput, TheDataFolderMayBeTheRunFolder) {
  const auto result = evomoe(train_arguments("bin") + "--max-update 1");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(fs::exists(folder_ / "bin/dict.txt"));
}

TEST_F(BadInput, PreprocessPrintsItsResultOnceOnStdout) {
  const auto result =
      evomoe(fmt::format("preprocess --only-source --trainpref {0}/train.txt --destdir {0}/new",
                         folder_.path().string()));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("types"), HasSubstr("360 sents")));
  EXPECT_THAT(result.err, Not(HasSubstr("sents")));
  EXPECT_EQ(testing::read_text(folder_ / "new/preprocess.log"), result.out);
}

}  // namespace
}  // namespace evomoe
