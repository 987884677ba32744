// --regression-target from text to checkpoints: a number of each row, learnt, measured, resumed.
#include "evomoe/report/log_line.h"
#include "evomoe/report/run_log.h"
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

/// Rows of six words; a row's number is the share of them that are `good`, times three.
class Regression : public Commands {
 protected:
  void SetUp() override {
    for (const std::string split : {"train", "valid"}) {
      std::string text, labels;
      for (uint64_t row = 0; row < (split == "train" ? 120U : 40U); ++row) {
        // A linear congruential generator, so that the rows are the same everywhere.
        uint64_t state = row * 7919 + (split == "train" ? 1 : 2);
        int good = 0;
        for (int word = 0; word < 6; ++word) {
          state = state * 6364136223846793005ULL + 1442695040888963407ULL;
          const bool is_good = (state >> 40) % 3 == 0;
          good += is_good ? 1 : 0;
          text += is_good ? "good " : fmt::format("w{} ", (state >> 50) % 5);
        }
        text += "\n";
        labels += fmt::format("{}\n", good / 2.0);
      }
      testing::write_text(folder_ / (split + ".txt"), text);
      fs::create_directories(folder_ / "bin/label");
      testing::write_text(folder_ / ("bin/label/" + split + ".label"), labels);
    }
    const auto made =
        evomoe(fmt::format("preprocess --only-source --trainpref {0}/train.txt "
                           "--validpref {0}/valid.txt --destdir {0}/bin/input0",
                           folder_.path().string()));
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }

  std::string train(const std::string& run = "run") const {
    return fmt::format(
        "train {0}/bin --save-dir {0}/{1} --task sentence_prediction --criterion "
        "sentence_prediction --regression-target --num-classes 1 --init-token 0 --arch "
        "roberta_base --encoder-layers 1 --encoder-embed-dim 16 --encoder-ffn-embed-dim 32 "
        "--encoder-attention-heads 2 --max-positions 16 --dropout 0 --attention-dropout 0 "
        "--batch-size 24 --lr 0.01 --adam-betas 0.9,0.98 --log-format json --threads 1 "
        "--no-epoch-checkpoints --validate-interval 10 --max-update 120 "
        "--best-checkpoint-metric pearson --maximize-best-checkpoint-metric ",
        folder_.path().string(), run);
  }

  std::string data() const { return (folder_ / "bin").string(); }
  std::string last(const std::string& run) const {
    return (folder_ / (run + "/checkpoint_last")).string();
  }

  /// The validations of a run.
  std::vector<nlohmann::ordered_json> validations(const std::string& run) const {
    std::vector<nlohmann::ordered_json> found;
    for (const auto& line : read_run_log(folder_ / (run + "/log.jsonl"))) {
      if (line.at("tag") == "valid") found.push_back(line);
    }
    return found;
  }

  /// The line of `evomoe validate`, without its time and speed.
  std::string validated(const std::string& checkpoint) const {
    const auto result = evomoe("validate " + data() + " --threads 1 --path " + checkpoint);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const auto begin = std::min(result.out.find("valid"), result.out.size());
    return result.out.substr(begin, result.out.find("wps") - begin);
  }
};

double number(const nlohmann::ordered_json& line, const std::string& key) {
  return line.at(key).get<double>();
}

TEST_F(Regression, LearnsALinearRuleAndKeepsTheBestByPearsonsCorrelation) {
  const auto result = evomoe(train());
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto lines = validations("run");
  ASSERT_EQ(lines.size(), 3U);
  const auto& end = lines.back();
  EXPECT_GT(number(end, "valid_pearson"), 0.98);
  EXPECT_GT(number(end, "valid_spearman"), 0.95);
  EXPECT_LT(number(end, "valid_loss"), number(lines.front(), "valid_loss"));
  EXPECT_LT(number(end, "valid_loss"), 0.05);  // the numbers' variance is 0.33, 0.48 in bits
  EXPECT_FALSE(end.contains("valid_accuracy"));
  EXPECT_TRUE(end.contains("valid_best_pearson"));
  double best = -1;
  for (const auto& line : lines) best = std::max(best, number(line, "valid_pearson"));
  const auto manifest = testing::read_json(folder_ / "run/checkpoint_best/manifest.json");
  EXPECT_EQ(manifest.at("sections").at("checkpoint").at("best"), best);
  const auto line = validated(last("run"));
  EXPECT_THAT(line, HasSubstr("pearson " + format_g(number(end, "valid_pearson"))));
  EXPECT_THAT(line, HasSubstr("loss " + format_g(number(end, "valid_loss"))));
}

TEST_F(Regression, GoesOnFromOursAndFromFairseqsFileUpdateForUpdate) {
  ASSERT_EQ(evomoe(train("whole") + "--max-update 20").exit_code, 0);
  ASSERT_EQ(evomoe(train("part") + "--max-update 12").exit_code, 0);
  const auto theirs = (folder_ / "part.pt").string();
  const auto made = evomoe("convert " + last("part") + " --to fairseq --output " + theirs);
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_EQ(validated(theirs), validated(last("part")));
  const auto other = evomoe(train("other") + "--max-update 20 --restore-file " + theirs);
  ASSERT_EQ(other.exit_code, 0) << other.err;
  EXPECT_THAT(other.err, Not(HasSubstr("regression-target")));
  ASSERT_EQ(evomoe(train("part") + "--max-update 20").exit_code, 0);
  EXPECT_EQ(model_file("part"), model_file("whole"));
  EXPECT_EQ(model_file("other"), model_file("whole"));
  const auto back = evomoe("convert " + theirs + " --output " + (folder_ / "back").string());
  ASSERT_EQ(back.exit_code, 0) << back.err;
  EXPECT_THAT(testing::read_text(folder_ / "back/config.yaml"),
              HasSubstr("regression_target: true"));
}

TEST_F(Regression, WhatCannotBeIsRefusedBeforeTheRunBegins) {
  expect_refused(train() + "--num-classes 2", {"--regression-target", "--num-classes 1"});
  expect_refused(train() + "--best-checkpoint-metric accuracy",
                 {"--best-checkpoint-metric accuracy", "--regression-target", "pearson"});
  testing::write_text(folder_ / "bin/label/valid.label", "0.5\nhigh\n");
  expect_refused(train(), {"label/valid.label:2: `high` is not a number"}, 1);
  testing::write_text(folder_ / "bin/label/valid.label", "0.5\n1\n");
  expect_refused(train(), {"40 lines", "label/valid.label has 2 labels"}, 1);
  EXPECT_FALSE(fs::exists(folder_ / "run"));
}

}  // namespace
}  // namespace evomoe
