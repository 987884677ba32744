// --path a:b of eval-lm, generate and interactive.
#include <cmath>
#include <sstream>

#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

class Ensemble : public Commands {
 protected:
  void SetUp() override {
    Commands::SetUp();
    run(train_arguments("a") + "--seed 1");
    run(train_arguments("b") + evolution() + "--seed 2");
  }

  testing::CommandResult run(const std::string& arguments) const {
    auto result = evomoe(arguments);
    EXPECT_EQ(result.exit_code, 0) << arguments << "\n" << result.err;
    return result;
  }
  std::string checkpoint(const std::string& run) const {
    return (folder_ / (run + "/checkpoint_last")).string();
  }
  std::string both() const { return checkpoint("a") + ":" + checkpoint("b"); }
  std::string eval_lm(const std::string& path) const {
    return fmt::format("eval-lm {}/bin --path {} --gen-subset valid --threads 1 ",
                       folder_.path().string(), path);
  }
  std::string generate(const std::string& path) const {
    return fmt::format(
        "generate {}/bin --path {} --gen-subset valid --beam 2 --max-len-b 15 --min-len 0 "
        "--threads 1 ",
        folder_.path().string(), path);
  }

  /// The binary logarithms of the words' probabilities, in the order of the text.
  std::vector<double> word_scores(const std::string& path) const {
    std::istringstream out(run(eval_lm(path) + "--output-word-probs").out);
    std::vector<double> scores;
    for (std::string word; out >> word;) {
      if (word.front() == '[' && word.back() == ']') scores.push_back(std::stod(word.substr(1)));
    }
    return scores;
  }

  double perplexity(const std::string& path) const {
    return nlohmann::json::parse(run(eval_lm(path) + "--log-format json").out).at("perplexity");
  }
};

TEST_F(Ensemble, EvalLmAveragesTheProbabilitiesOfEachWord) {
  const auto a = word_scores(checkpoint("a")), b = word_scores(checkpoint("b"));
  const auto mean = word_scores(both());
  ASSERT_GT(mean.size(), 300U);
  ASSERT_EQ(a.size(), mean.size());
  ASSERT_EQ(b.size(), mean.size());
  double difference = 0;
  for (size_t i = 0; i < mean.size(); ++i) {
    // A word is a token here.
    EXPECT_NEAR(mean[i], std::log2((std::exp2(a[i]) + std::exp2(b[i])) / 2), 2e-4) << i;
    difference = std::max(difference, std::abs(a[i] - b[i]));
  }
  EXPECT_GT(difference, 0.01) << "the models differ";
}

TEST_F(Ensemble, AModelBesideItselfIsThatModel) {
  const auto a = checkpoint("a");
  EXPECT_NEAR(perplexity(a + ":" + a), perplexity(a), 1e-4);
  EXPECT_EQ(run(generate(a + ":" + a)).out, run(generate(a)).out);
}

TEST_F(Ensemble, CheckpointsOfFairseqMayBeAmongThem) {
  run(fmt::format("convert {} --to fairseq --output {}/a.pt", checkpoint("a"),
                  folder_.path().string()));
  const auto mixed = (folder_ / "a.pt").string() + ":" + checkpoint("b");
  EXPECT_NEAR(perplexity(mixed), perplexity(both()), 1e-4);
  EXPECT_EQ(run(generate(mixed)).out, run(generate(both())).out);
}

TEST_F(Ensemble, ACheckpointWithAColonInItsNameIsOne) {
  std::filesystem::rename(folder_ / "a", folder_ / "a:1");
  run(eval_lm(checkpoint("a:1")));
}

TEST_F(Ensemble, WhatCannotBeAveragedIsRefused) {
  expect_refused(eval_lm(both() + ":" + checkpoint("c")), {"c/checkpoint_last"}, 1);
  expect_refused(eval_lm(checkpoint("a") + "::" + checkpoint("b")), {"--path", "empty part"});
  run(
      fmt::format("train {0}/bin --save-dir {0}/masked --arch roberta_base --criterion masked_lm "
                  "--encoder-layers 1 --encoder-embed-dim 16 --encoder-ffn-embed-dim 32 "
                  "--encoder-attention-heads 2 --tokens-per-sample 16 --batch-size 4 "
                  "--max-update 1 --threads 1 --log-format none",
                  folder_.path().string()));
  expect_refused(eval_lm(checkpoint("a") + ":" + checkpoint("masked")),
                 {"a/checkpoint_last", "masked/checkpoint_last", "the same --task"}, 1);
  run(
      fmt::format("preprocess --only-source --trainpref {0}/valid.txt --validpref {0}/valid.txt "
                  "--destdir {0}/other",
                  folder_.path().string()));
  std::filesystem::rename(folder_ / "bin", folder_ / "first");
  std::filesystem::rename(folder_ / "other", folder_ / "bin");
  run(train_arguments("d") + "--max-update 1");
  expect_refused(fmt::format("interactive --path {}:{} --input {}", checkpoint("a"),
                             checkpoint("d"), (folder_ / "valid.txt").string()),
                 {"a/checkpoint_last", "d/checkpoint_last", "the same dictionary"}, 1);
}

TEST_F(Ensemble, PromptsAreContinuedByOneModel) {
  expect_refused("generate --path " + both() + " --prompt the", {"--path", "--gen-subset"});
}

}  // namespace
}  // namespace evomoe
