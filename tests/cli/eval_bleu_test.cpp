// train --eval-bleu and validate, as a user types them.
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "evomoe/report/log_line.h"
#include "evomoe/score/bleu.h"
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::Contains;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> lines_with(const std::string& text, const std::string& word) {
  std::vector<std::string> found;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (line.find(word) != std::string::npos) found.push_back(line);
  }
  return found;
}

/// The value behind `"valid_bleu": "` and the like.
std::string value_of(const std::string& line, const std::string& key) {
  const auto begin = "\"" + key + "\": \"";
  const auto at = line.find(begin);
  if (at == std::string::npos) return "none";
  const auto from = at + begin.size();
  return line.substr(from, line.find('"', from) - from);
}

std::string replaced_all(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

/// A small model that learns to name numbers, `w3 w@@ 5 .` -> `t3 t@@ 5 .`; the target's dictionary
/// lacks the rarest two, so that there are unknown words in what is made and in its references.
class EvalBleu : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new testing::TemporaryFolder();
    for (const std::string split : {"train", "valid"}) {
      std::string source, target;
      for (int i = 0; i < (split == "train" ? 400 : 40); ++i) {
        for (int j = 0; j <= i % 5; ++j) {
          const auto number = (i * i + j * (i % 7 + 1)) % 5;
          const std::string mark = j % 2 == 0 ? "" : "@@ ";
          source += fmt::format("w{}{} ", mark, number);
          target += fmt::format("t{}{} ", mark, number);
        }
        source += ".\n";
        target += ".\n";
      }
      testing::write_text(*folder_ / (split + ".de"), source);
      testing::write_text(*folder_ / (split + ".en"), target);
    }
    const auto prepared = evomoe(fmt::format(
        "preprocess -s de -t en --trainpref {0}/train --validpref {0}/valid --destdir {0}/bin "
        "--nwordstgt 14 --padding-factor 1",
        path()));
    ASSERT_EQ(prepared.exit_code, 0) << prepared.err;
    trained_ = evomoe(train("run") + eval_bleu() +
                      "--max-update 150 --keep-best-checkpoints 2 --eval-bleu-print-samples");
    ASSERT_EQ(trained_.exit_code, 0) << trained_.err;
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }

  static std::string path() { return folder_->path().string(); }
  static std::string train(const std::string& run, const std::string& data = "bin") {
    return fmt::format(
        "train {0}/{2} --task translation --arch transformer --save-dir {0}/{1} "
        "--encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 48 --decoder-embed-dim 48 "
        "--encoder-ffn-embed-dim 64 --decoder-ffn-embed-dim 64 --encoder-attention-heads 2 "
        "--decoder-attention-heads 2 --dropout 0 --batch-size 32 --lr 0.005 --lr-scheduler "
        "inverse_sqrt --warmup-updates 50 --adam-betas 0.9,0.98 --threads 1 "
        "--criterion moe_label_smoothed_cross_entropy --label-smoothing 0.1 --moe-freq 1 "
        "--moe-expert-count 2 --moe-topk-expert --use-gumbel-softmax --moe-gate-loss-wt 0 "
        "--moe-eval-capacity-token-fraction -1 --log-format json "
        "--validate-interval 100 --validate-interval-updates 50 --save-interval 100 "
        "--save-interval-updates 50 ",
        path(), run, data);
  }
  static std::string eval_bleu() {
    return R"(--eval-bleu --eval-bleu-args '{"beam": 3, "max_len_a": 1.2, "max_len_b": 10}' )"
           "--eval-bleu-remove-bpe --best-checkpoint-metric bleu "
           "--maximize-best-checkpoint-metric ";
  }
  static std::string last(const std::string& run) {
    return path() + "/" + run + "/checkpoint_last";
  }
  static testing::CommandResult evomoe(const std::string& arguments) {
    return testing::run_command(testing::program().string() + " " + arguments);
  }
  static std::vector<std::string> validations(const std::string& out) {
    return lines_with(out, " | valid | ");
  }
  static void expect_refused(const std::string& arguments, const std::string& word) {
    const auto result = evomoe(arguments);
    EXPECT_EQ(result.exit_code, 2) << arguments;
    EXPECT_THAT(result.err, HasSubstr(word)) << arguments;
  }

  static testing::TemporaryFolder* folder_;
  static testing::CommandResult trained_;
};

testing::TemporaryFolder* EvalBleu::folder_ = nullptr;
testing::CommandResult EvalBleu::trained_;

TEST_F(EvalBleu, EachValidationLogsItWhereFairseqDoes) {
  const auto lines = validations(trained_.out);
  ASSERT_EQ(lines.size(), 3U) << trained_.out;
  for (const auto& line : lines) {
    EXPECT_THAT(line, ContainsRegex("\"valid_ppl\": \"[^\"]*\", \"valid_bleu\": \"[0-9.]+\", "
                                    "\"valid_wps\""));
  }
  EXPECT_GT(std::stod(value_of(lines[2], "valid_bleu")),
            std::stod(value_of(lines[0], "valid_bleu")))
      << "something is learnt";
  EXPECT_NE(value_of(lines[2], "valid_best_bleu"), "none");
}

TEST_F(EvalBleu, SamplesAreLoggedOfEachBatch) {
  const auto hypotheses = lines_with(trained_.err, "example hypothesis: ");
  EXPECT_EQ(hypotheses.size(), lines_with(trained_.err, "example reference: ").size());
  EXPECT_GE(hypotheses.size(), 6U) << "3 validations of 2 batches";
  EXPECT_THAT(lines_with(trained_.err, "example reference: ").front(), Not(HasSubstr("@@")));
}

TEST_F(EvalBleu, ItIsTheBleuOfWhatGenerateWritesWithUnknownWordsApart) {
  const auto written = evomoe(fmt::format(
      "generate {0}/bin --path {1} --gen-subset valid --beam 3 --max-len-a 1.2 --max-len-b 10 "
      "--remove-bpe --threads 1",
      path(), last("run")));
  ASSERT_EQ(written.exit_code, 0) << written.err;
  EXPECT_THAT(lines_with(written.out, "T-"), Contains(HasSubstr("<<unk>>")));
  EXPECT_THAT(lines_with(written.out, "D-"), Contains(HasSubstr("<unk>")));
  const auto text = replaced_all(written.out, "<<unk>>", "UNKNOWNTOKENINREF");
  std::map<std::string, std::string> references;
  TextBleu bleu({});
  std::istringstream stream(replaced_all(text, "<unk>", "UNKNOWNTOKENINHYP"));
  for (std::string line; std::getline(stream, line);) {
    const auto id = line.substr(2, line.find('\t') - 2);
    const auto words = line.substr(line.rfind('\t') + 1);
    if (line.starts_with("T-")) references[id] = words;
    if (line.starts_with("D-")) bleu.add(references.at(id), words);
  }
  ASSERT_EQ(references.size(), 40U);
  EXPECT_EQ(value_of(validations(trained_.out).back(), "valid_bleu"),
            format_g(round_python(bleu.score(), 2)));
}

TEST_F(EvalBleu, ValidateSaysWhatTheTrainingSaid) {
  const auto result = evomoe(fmt::format(
      "validate {0}/bin --path {1} --threads 1 --log-format json", path(), last("run")));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(value_of(result.out, "valid_bleu"),
            value_of(validations(trained_.out).back(), "valid_bleu"));
}

TEST_F(EvalBleu, ValidateCountsAsItIsTold) {
  const auto result = evomoe(fmt::format(
      "validate {0}/bin --path {1} --threads 1 --log-format json --eval-bleu --eval-bleu-detok "
      "moses --eval-tokenized-bleu --eval-bleu-remove-bpe --eval-bleu-print-samples "
      "--eval-bleu-args '{{\"beam\": 1, \"max_len_b\": 15}}' --validate-routing both",
      path(), last("run")));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, ContainsRegex("example reference: [^\n]*[0-9FP]\\.\n"))
      << "moses joins the full stop";
  EXPECT_THAT(lines_with(result.out, " | valid | ").at(0), HasSubstr("valid_bleu"));
  EXPECT_THAT(lines_with(result.out, " | valid_stage | ").at(0), Not(HasSubstr("bleu")))
      << "translation routes as evaluation does";
}

TEST_F(EvalBleu, TheBestCheckpointIsThatOfTheHighest) {
  double best = -1;
  int64_t updates = 0;
  std::string name;
  for (const auto& line : validations(trained_.out)) {
    const auto bleu = value_of(line, "valid_bleu");
    if (std::stod(bleu) >= best) {
      best = std::stod(bleu);
      updates = std::stoll(value_of(line, "valid_num_updates"));
    }
  }
  const auto manifest = testing::read_json(*folder_ / "run/checkpoint_best/manifest.json");
  EXPECT_EQ(manifest.at("sections").at("counters").at("updates"), updates);
  EXPECT_TRUE(
      std::filesystem::exists(*folder_ / fmt::format("run/checkpoint.best_bleu_{:.2f}", best)));
}

TEST_F(EvalBleu, AResumedRunKnowsTheBestAndPatienceCountsIt) {
  // A learning rate of almost nothing: the BLEU stays as it is.
  const auto command = train("patient") + eval_bleu() + "--lr 1e-9 --patience 3 ";
  const auto first = evomoe(command + "--max-update 100");
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const auto second = evomoe(command + "--max-update 1000");
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_THAT(second.err, HasSubstr("no better bleu in 3 validations"));
  const auto lines = validations(second.out);
  ASSERT_EQ(lines.size(), 2U) << "the first run's second validation was one of the three";
  EXPECT_EQ(value_of(lines[0], "valid_best_bleu"),
            value_of(validations(first.out)[0], "valid_bleu"));
}

TEST_F(EvalBleu, AByteLevelBpeDecodesBothSides) {
  const auto files = fmt::format(
      "--bpe gpt2 --gpt2-encoder-json {0}/bpe/encoder.json --gpt2-vocab-bpe {0}/bpe/vocab.bpe",
      path());
  for (const auto& arguments :
       {fmt::format("bpe train {0}/train.de {0}/train.en --vocab-size 300 --destdir {0}/bpe",
                    path()),
        fmt::format("preprocess -s de -t en {1} --trainpref {0}/train --validpref {0}/valid "
                    "--destdir {0}/bytes",
                    path(), files)}) {
    const auto result = evomoe(arguments);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  const auto trained = evomoe(train("bytes-run", "bytes") +
                              "--eval-bleu --eval-bleu-args '{\"max_len_b\": 40}' "
                              "--eval-bleu-print-samples --max-update 100");
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_THAT(trained.err, ContainsRegex("example reference: t[0-9]"));
  const auto written = evomoe(fmt::format(
      "generate {0}/bytes --path {1} --gen-subset valid --scoring sacrebleu --max-len-b 40 --quiet "
      "--threads 1",
      path(), last("bytes-run")));
  ASSERT_EQ(written.exit_code, 0) << written.err;
  const auto bleu = std::stod(value_of(validations(trained.out).back(), "valid_bleu"));
  EXPECT_THAT(written.out, HasSubstr(fmt::format("BLEU = {:.2f} ", bleu)));
}

TEST_F(EvalBleu, WhatRefinesItIsTakenWithoutItWithANotice) {
  const auto command = train("unused") + "--max-update 1 --disable-validation ";
  const auto result = evomoe(command +
                             "--eval-bleu-args '{\"beam\": 4}' --eval-bleu-remove-bpe "
                             "--eval-tokenized-bleu");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(lines_with(result.err, "have no effect without --eval-bleu").size(), 1U) << result.err;
  EXPECT_THAT(result.err, HasSubstr("--eval-bleu-args"));
  EXPECT_THAT(result.err, HasSubstr("--eval-tokenized-bleu"));
  expect_refused(command + "--eval-bleu-args beam=4", "--eval-bleu-args 'beam=4'");
  expect_refused(command + "--eval-bleu-detok-args fr", "--eval-bleu-detok-args 'fr'");
}

TEST_F(EvalBleu, ALeastLengthThatCannotBeReachedIsRefusedBeforeTheRunBegins) {
  const auto args = [](int least, double a, int b) {
    return fmt::format(
        "--eval-bleu --eval-bleu-args '{{\"beam\": 1, \"min_len\": {}, \"max_len_a\": {}, "
        "\"max_len_b\": {}}}' ",
        least, a, b);
  };
  const auto command = train("least") + "--max-update 1 ";
  expect_refused(command + args(60, 0.5, 10), "--eval-bleu-args: --min-len 60");
  expect_refused(command + args(60, 0, 10), "--eval-bleu-args: --min-len 60");
  expect_refused(command + args(60, 0, 100) + "--max-target-positions 50", "50 positions");
  EXPECT_FALSE(std::filesystem::exists(*folder_ / "least"));
  expect_refused(
      fmt::format("validate {0}/bin --path {1} {2}", path(), last("run"), args(60, 0.5, 10)),
      "--eval-bleu-args: --min-len 60");
  const auto reached = evomoe(command + args(3, 1, 1));
  EXPECT_EQ(reached.exit_code, 0) << reached.err << "more than max_len_b, but no batch is so short";
}

TEST_F(EvalBleu, WhatCannotWorkIsRefused) {
  const auto command = train("refused");
  expect_refused(command + "--best-checkpoint-metric bleu", "add it");
  expect_refused(command + "--best-checkpoint-metric bleu", "--eval-bleu");
  expect_refused(command + "--eval-bleu --eval-bleu-args '{\"bean\": 3}'", "beam, max_len_a");
  expect_refused(command + "--eval-bleu --eval-bleu-detok mosses", "moses");
  expect_refused(
      command +
          "--eval-bleu --eval-bleu-detok moses --eval-bleu-detok-args '{\"target_lang\": "
          "\"fi\"}'",
      "'fi'");
  expect_refused(command + "--eval-bleu --validate-routing stage", "both");
  expect_refused(fmt::format("train {0}/bin --batch-size 4 --eval-bleu", path()),
                 "--task translation");
  expect_refused(
      fmt::format("train {0}/bin --batch-size 4 --eval-bleu-args '{{\"beam\": 4}}'", path()),
      "--eval-bleu-args is an option of --task translation");
  EXPECT_FALSE(std::filesystem::exists(*folder_ / "refused"));
  expect_refused(
      fmt::format("validate {0}/bin --path {1} --eval-tokenized-bleu", path(), last("run")),
      "add it");
}

}  // namespace
}  // namespace evomoe
