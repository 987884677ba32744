// What must not end a run, and what is said of it: updates without a target, items that are too
// long, schedules that do not fit; and which checkpoints a run leaves.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Survival : public Commands {
 protected:
  std::string path() const { return folder_.path().string(); }

  /// A model of one tiny layer in either half.
  std::string tiny(const std::string& half) const {
    return fmt::format(
        "--{0}-layers 1 --{0}-embed-dim 8 --{0}-ffn-embed-dim 8 --{0}-attention-heads 1 ", half);
  }

  /// Numbers at most `shorter` words a line, and a line of `longest` words after the third.
  static std::string lines(int count, int shorter, int longest) {
    std::string text;
    for (int i = 0; i < count; ++i) {
      const int words = i == 3 ? longest : 1 + i % shorter;
      for (int j = 0; j < words; ++j) text += fmt::format("{}w{}", j == 0 ? "" : " ", (i + j) % 7);
      text += "\n";
    }
    return text;
  }

  testing::CommandResult preprocess(const std::string& arguments) {
    return evomoe(fmt::format("preprocess --destdir {}/{}", path(), arguments));
  }

  std::vector<nlohmann::json> log_of(const std::string& run) const {
    std::istringstream log(testing::read_text(folder_ / (run + "/log.jsonl")));
    std::vector<nlohmann::json> records;
    for (std::string line; std::getline(log, line);) records.push_back(nlohmann::json::parse(line));
    return records;
  }

  std::set<std::string> checkpoints_of(const std::string& run) const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / run)) {
      const auto name = entry.path().filename().string();
      if (name.starts_with("checkpoint")) names.insert(name);
    }
    return names;
  }
};

TEST_F(Survival, AMaskedLanguageModelGoesOnThroughUpdatesAndValidationsWithoutATarget) {
  std::string text;
  for (int i = 0; i < 20; ++i) text += fmt::format("w{}\n", i % 3);
  testing::write_text(folder_ / "short.txt", text);
  testing::write_text(folder_ / "one.txt", "w1\n");
  ASSERT_EQ(preprocess(fmt::format("short --only-source --trainpref {0}/short.txt --validpref "
                                   "{0}/short.txt,{0}/one.txt",
                                   path()))
                .exit_code,
            0);
  const auto run = [&](const std::string& more) {
    return evomoe(fmt::format(
        "train {0}/short --save-dir {0}/masked --task masked_lm --criterion masked_lm --arch "
        "roberta_base {1} --tokens-per-sample 8 --sample-break-mode eos --batch-size 1 "
        "--lr 0.01 --max-update 20 --log-interval 1 --log-format json --threads 1 "
        "--mask-prob 0.1 {2}",
        path(), tiny("encoder"), more));
  };
  // One masked token of two in a validation of one line is unlikely; its epoch is always the same.
  const auto result = run("--valid-subset valid1 --ignore-unused-valid-subsets --seed 3");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("done after 20 updates"));
  EXPECT_THAT(result.out, Not(HasSubstr("nan")));
  int with = 0, without = 0, validations = 0;
  for (const auto& record : log_of("masked")) {
    EXPECT_THAT(record.dump(), Not(HasSubstr("null")));
    if (record.at("tag") == "train_inner") ++(record.contains("loss") ? with : without);
    if (record.at("tag") != "valid1") continue;
    ++validations;
    EXPECT_FALSE(record.contains("valid1_loss"));
  }
  EXPECT_GT(with, 0);
  EXPECT_GT(without, 0);
  EXPECT_EQ(validations, 1);
  EXPECT_THAT(result.err, HasSubstr("no token of it is a target"));
  EXPECT_FALSE(checkpoints_of("masked").contains("checkpoint_best")) << "nothing says it is";

  expect_refused(fmt::format("validate {0}/short --path {0}/masked/checkpoint_last --valid-subset "
                             "valid1 --threads 1",
                             path()),
                 {"short/valid1", "no token of it is a target", "--valid-subset"}, 1);
}

TEST_F(Survival, ItemsLongerThanMaxTokensAreLeftOutOfTrainingInEveryTask) {
  testing::write_text(folder_ / "a.de", lines(14, 5, 30));
  testing::write_text(folder_ / "a.en", lines(14, 4, 4));
  testing::write_text(folder_ / "b.de", lines(3, 5, 5));
  testing::write_text(folder_ / "b.en", lines(3, 4, 4));
  ASSERT_EQ(
      preprocess(fmt::format("pair -s de -t en --trainpref {0}/a --validpref {0}/b,{0}/a", path()))
          .exit_code,
      0);
  ASSERT_EQ(preprocess(fmt::format("mono --only-source --trainpref {0}/a.de --validpref "
                                   "{0}/b.de,{0}/a.de",
                                   path()))
                .exit_code,
            0);
  const auto common = fmt::format(
      "--max-tokens 16 --lr 0.01 --max-epoch 2 --log-format none --threads 1 "
      "--ignore-unused-valid-subsets ");
  const auto pair = fmt::format("{0}/pair --task translation --arch transformer {1}{2}", path(),
                                tiny("encoder"), tiny("decoder"));
  const auto text = fmt::format(
      "{0}/mono --arch transformer_lm_gpt2_tiny {1} --tokens-per-sample 8 --sample-break-mode eos "
      "--max-target-positions 64 ",
      path(), tiny("decoder"));
  const auto masked = fmt::format(
      "{0}/mono --task masked_lm --criterion masked_lm --arch roberta_base {1} --tokens-per-sample "
      "8 --sample-break-mode eos ",
      path(), tiny("encoder"));
  int number = 0;
  for (const auto& task : {pair, text, masked}) {
    SCOPED_TRACE(task);
    const auto train = [&](const std::string& run, const std::string& more) {
      return evomoe(
          fmt::format("train {} {} --save-dir {}/{} {}", task, common, path(), run, more));
    };
    const auto run = fmt::format("whole{}", ++number), half = fmt::format("half{}", number);
    const auto result = train(run, "");
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const std::string said = "1 of 14 items is too long: 1 longer than --max-tokens 16";
    EXPECT_THAT(result.err, HasSubstr(said));
    EXPECT_EQ(result.err.find(said), result.err.rfind(said)) << "it is said once";
    // A run that is broken off and resumed sees the same batches.
    ASSERT_EQ(train(half, "--max-update 2").exit_code, 0);
    ASSERT_EQ(train(half, "").exit_code, 0);
    EXPECT_EQ(model_file(half), model_file(run));

    const auto validate = [&](const std::string& more) {
      return evomoe(
          fmt::format("validate {} --path {}/{}/checkpoint_last --valid-subset valid1 "
                      "--threads 1 {}",
                      task.substr(0, task.find(' ')), path(), run, more));
    };
    const auto too_long = validate("--max-tokens 16");
    EXPECT_EQ(too_long.exit_code, 1);
    EXPECT_THAT(too_long.err, HasSubstr("raise --max-tokens, or leave such items out with"));
    EXPECT_EQ(validate("--max-tokens 16 --skip-invalid-size-inputs-valid-test").exit_code, 0);
    if (task != pair) continue;
    EXPECT_EQ(validate("--max-tokens 64").exit_code, 0);
    const auto refused = train("refused", "--valid-subset valid1 --save-interval 9");
    EXPECT_EQ(refused.exit_code, 1) << refused.err;
    EXPECT_THAT(refused.err, HasSubstr("1 longer than --max-tokens 16"));
    EXPECT_THAT(refused.err, HasSubstr("--skip-invalid-size-inputs-valid-test"));
    const auto skipped = train("skipped",
                               "--valid-subset valid1 "
                               "--skip-invalid-size-inputs-valid-test");
    EXPECT_EQ(skipped.exit_code, 0) << skipped.err;
    const auto wide = train("wide", "--valid-subset valid1 --max-tokens-valid 64");
    EXPECT_EQ(wide.exit_code, 0) << wide.err;
    const auto nothing = train("nothing", "--max-tokens 1");
    EXPECT_NE(nothing.exit_code, 0);
    EXPECT_THAT(nothing.err, HasSubstr("--max-tokens 1"));
    EXPECT_THAT(nothing.err, HasSubstr("raise --max-tokens"));
  }
  // A block may be longer than the model's positions where that is not all that there are.
  for (const auto& narrow : {text + "--tokens-per-sample 64 --max-target-positions 16 ",
                             masked + "--tokens-per-sample 64 --max-positions 16 "}) {
    const auto result = evomoe(fmt::format("train {} {} --max-tokens 64 --save-dir {}/narrow{}",
                                           narrow, common, path(), ++number));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("1 longer than the model's 16 positions"));
  }
  // The positions that validate is told decide too.
  const auto short_positions = [&](const std::string& more) {
    return evomoe(
        fmt::format("validate {0}/pair --path {0}/whole1/checkpoint_last --valid-subset "
                    "valid1 --max-tokens 64 --threads 1 --max-source-positions 8 {1}",
                    path(), more));
  };
  const auto refused = short_positions("");
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("1 longer than the model's 8 (source)"),
                                 HasSubstr("leave such items out with "
                                           "--skip-invalid-size-inputs-valid-test")));
  const auto left_out = short_positions("--skip-invalid-size-inputs-valid-test");
  EXPECT_EQ(left_out.exit_code, 0) << left_out.err;
  EXPECT_THAT(left_out.err, HasSubstr("1 longer than the model's 8 (source)"));
  const auto more = short_positions("--max-source-positions 4096");
  EXPECT_EQ(more.exit_code, 0) << more.err;
  EXPECT_THAT(more.err, HasSubstr("using the model's 1024"));
  // Other positions may be other items, so an epoch does not go on with them.
  ASSERT_EQ(
      evomoe(fmt::format("train {} {} --save-dir {}/moved --max-update 2", pair, common, path()))
          .exit_code,
      0);
  expect_refused(fmt::format("train {} {} --save-dir {}/moved --max-source-positions 512", pair,
                             common, path()),
                 {"--max-source-positions 1024 -> 512", "--reset-dataloader"}, 1);
  // generate: an item longer than a batch is left out where it is asked for.
  const auto generate = [&](const std::string& more) {
    return evomoe(
        fmt::format("generate {0}/pair --path {0}/whole1/checkpoint_last --gen-subset "
                    "valid1 --beam 1 --max-len-b 2 --max-tokens 16 --threads 1 {1}",
                    path(), more));
  };
  EXPECT_THAT(generate("").err, HasSubstr("1 longer than --max-tokens 16"));
  EXPECT_EQ(generate("--skip-invalid-size-inputs-valid-test").exit_code, 0);
}

TEST_F(Survival, TheCheckpointsOfARunAreThoseOfTheReference) {
  // 15 batches are an epoch.
  const auto names = [&](const std::string& run, const std::string& flags) {
    const auto result = evomoe(train_arguments(run) +
                               "--tokens-per-sample 99 --sample-break-mode eos --batch-size 24 "
                               "--max-update 0 --max-epoch 2 --validate-interval-updates 0 " +
                               flags);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return checkpoints_of(run);
  };
  using Names = std::set<std::string>;
  const Names best_and_last = {"checkpoint_best", "checkpoint_last"};
  const auto and_these = [&](Names more) {
    more.insert(best_and_last.begin(), best_and_last.end());
    return more;
  };
  EXPECT_EQ(names("plain", ""), and_these({"checkpoint1", "checkpoint2"}));
  EXPECT_EQ(names("none", "--no-epoch-checkpoints"), best_and_last);
  // Updates 15 and 30 end an epoch.
  EXPECT_EQ(names("interval", "--save-interval-updates 10"),
            and_these({"checkpoint1", "checkpoint2", "checkpoint_1_10", "checkpoint_2_20"}));
  EXPECT_EQ(names("within", "--save-interval-updates 10 --no-epoch-checkpoints"),
            and_these({"checkpoint_1_10", "checkpoint_2_20"}));
  EXPECT_EQ(names("ends", "--save-interval-updates 15 --no-epoch-checkpoints"), best_and_last);
  EXPECT_EQ(names("second", "--save-interval-updates 15 --save-interval 2"),
            and_these({"checkpoint2"}));
  EXPECT_EQ(names("later", "--save-interval-updates 10 --validate-after-updates 12"),
            and_these({"checkpoint1", "checkpoint2", "checkpoint_2_20"}));
  EXPECT_EQ(names("newest",
                  "--save-interval-updates 5 --keep-interval-updates 1 "
                  "--keep-last-epochs 1 --no-last-checkpoints --no-best-checkpoints"),
            (Names{"checkpoint2", "checkpoint_2_25"}));
}

TEST_F(Survival, ValidationsAreMadeWhenTheirOptionsSay) {
  const auto updates = [&](const std::string& run, const std::string& flags) {
    const auto result = evomoe(train_arguments(run) +
                               "--tokens-per-sample 99 --sample-break-mode eos --batch-size 24 "
                               "--max-update 0 --max-epoch 2 --validate-interval-updates 0 " +
                               flags);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::vector<int64_t> found;
    for (const auto& record : log_of(run)) {
      if (record.at("tag") == "valid")
        found.push_back(record.at("completed_updates").get<int64_t>());
    }
    return found;
  };
  using Updates = std::vector<int64_t>;
  EXPECT_EQ(updates("a", ""), (Updates{15, 30}));
  EXPECT_EQ(updates("b", "--validate-interval 2"), (Updates{30}));
  EXPECT_EQ(updates("c", "--save-interval-updates 10"), (Updates{10, 15, 20, 30}));
  EXPECT_EQ(updates("d", "--validate-interval-updates 10"), (Updates{10, 15, 20, 30}));
  EXPECT_EQ(updates("e", "--validate-interval-updates 10 --validate-after-updates 12"),
            (Updates{15, 20, 30}));
  EXPECT_EQ(updates("f", "--disable-validation --save-interval-updates 10"), Updates{});
}

TEST_F(Survival, ScheduleAndLearningRateThatAreNotMeantAreSaidBeforeTheRun) {
  const auto command = [&](const std::string& run) {
    return fmt::format(
        "train {0}/bin --save-dir {0}/{1} --arch transformer_lm_gpt2_tiny {2} --tokens-per-sample "
        "16 --batch-size 64 --log-format none --threads 1 --disable-validation ",
        path(), run, tiny("decoder"));
  };
  const auto silent = evomoe(command("silent") + "--max-update 2 --lr 0.001");
  EXPECT_EQ(silent.exit_code, 0) << silent.err;
  EXPECT_THAT(silent.err, Not(HasSubstr("warning")));
  const auto updates =
      evomoe(command("updates") + evolution() + "--decoder-layers 2 --max-update 4");
  EXPECT_EQ(updates.exit_code, 0) << updates.err;
  EXPECT_THAT(updates.err, HasSubstr("no --lr is given, so it is 0.25"));
  EXPECT_THAT(updates.err, HasSubstr("--max-update 4: the experts would be spawned after "
                                     "--shared-expert-updates 8"));
  const auto epochs = evomoe(command("epochs") + "--max-epoch 1 --lr 0.001 --warmup-updates 500");
  EXPECT_EQ(epochs.exit_code, 0) << epochs.err;
  EXPECT_THAT(epochs.err, HasSubstr("--max-epoch 1, which is"));
  EXPECT_THAT(epochs.err, HasSubstr("--warmup-updates 500"));
}

}  // namespace
}  // namespace evomoe
