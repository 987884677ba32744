// evomoe eval-lm of a model over byte-level BPE tokens.
#include <cmath>
#include <map>
#include <sstream>

#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

class EvalLm : public Commands {
 protected:
  void SetUp() override {
    Commands::SetUp();
    valid_ = "    the w4 sees w7\n\nand    then wonderful w9s goes  \n";
    testing::write_text(folder_ / "valid.txt", valid_);
    // The dictionary of the training text has all letters.
    testing::write_text(folder_ / "all.txt", testing::read_text(folder_ / "train.txt") + valid_);
    const auto root = folder_.path().string();
    run(
        fmt::format("bpe train {0}/all.txt --vocab-size 280 --destdir {0}/bpe "
                    "--keep-whitespace",
                    root));
    run(
        fmt::format("preprocess --only-source --trainpref {0}/all.txt --validpref {0}/valid.txt "
                    "--destdir {0}/bin2 --bpe gpt2 --gpt2-encoder-json {0}/bpe/encoder.json "
                    "--gpt2-vocab-bpe {0}/bpe/vocab.bpe --keep-whitespace",
                    root));
    std::filesystem::rename(folder_ / "bin", folder_ / "words");
    std::filesystem::rename(folder_ / "bin2", folder_ / "bin");
    run(train_arguments() + "--max-update 2 --tokens-per-sample 5");
  }

  void run(const std::string& arguments) {
    const auto result = evomoe(arguments);
    ASSERT_EQ(result.exit_code, 0) << arguments << "\n" << result.err;
  }
  testing::CommandResult eval_lm(const std::string& arguments) const {
    return evomoe(
        fmt::format("eval-lm {0}/bin --path {0}/run/checkpoint_last --gen-subset valid {1}",
                    folder_.path().string(), arguments));
  }

  std::string valid_;
};

TEST_F(EvalLm, CountsWordsAndBytesOfTheTextNotItsTokens) {
  const auto result = eval_lm("--log-format json");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto line = nlohmann::json::parse(result.out);
  EXPECT_EQ(line.at("words"), 9);
  EXPECT_EQ(line.at("bytes"), valid_.size());
  EXPECT_GT(line.at("tokens"), 20) << "more tokens than words";
  const double bits = line.at("loss").get<double>() * line.at("tokens").get<double>();
  EXPECT_NEAR(line.at("bits_per_word").get<double>(), bits / 9, 1e-6 * bits);
  EXPECT_NEAR(line.at("bits_per_byte").get<double>(), bits / static_cast<double>(valid_.size()),
              1e-6 * bits);
}

TEST_F(EvalLm, PrintsWholeWordsWhoseProbabilitiesMakeUpTheLoss) {
  const auto result = eval_lm("--output-word-probs --log-format json");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  std::istringstream lines(result.out);
  std::vector<std::string> words;
  double bits = 0;
  std::string line;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(std::getline(lines, line));
    std::istringstream fields(line);
    std::string item, word, score;
    fields >> item;
    while (fields >> word >> score) {
      words.push_back(word);
      bits -= std::stod(score.substr(1));
    }
  }
  EXPECT_THAT(words, ::testing::ElementsAre("the", "w4", "sees", "w7", "</s>", "</s>", "and",
                                            "then", "wonderful", "w9s", "goes", "</s>"));
  ASSERT_TRUE(std::getline(lines, line));
  const auto total = nlohmann::json::parse(line);
  EXPECT_NEAR(bits, total.at("loss").get<double>() * total.at("tokens").get<double>(), 0.01);
}

TEST_F(EvalLm, StatisticsAreOfWords) {
  const auto result = eval_lm("--output-word-stats");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("</s>\t3\t"));
  EXPECT_THAT(result.out, HasSubstr("wonderful\t1\t"));
}

TEST_F(EvalLm, AModelOfWordsCountsTheBytesOfTheText) {
  std::filesystem::rename(folder_ / "bin", folder_ / "bpe-bin");
  std::filesystem::rename(folder_ / "words", folder_ / "bin");
  run(train_arguments("word-run") + "--max-update 2");
  const auto result = evomoe(fmt::format(
      "eval-lm {0}/bin --path {0}/word-run/checkpoint_last --gen-subset train --log-format json",
      folder_.path().string()));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto line = nlohmann::json::parse(result.out);
  EXPECT_EQ(line.at("bytes"), std::filesystem::file_size(folder_ / "train.txt"));
  EXPECT_EQ(line.at("words"), 360 * 11);
}

TEST_F(EvalLm, TakesOnlyTheOptionsThatItReads) {
  expect_refused("eval-lm d --path p --validate-routing stage", {"--validate-routing"});
  const auto old = eval_lm("--num-workers 2 --log-interval 5 --seed 7");
  EXPECT_EQ(old.exit_code, 0) << old.err;
  EXPECT_THAT(old.err, HasSubstr("--num-workers 2: accepted without effect"));
}

TEST_F(EvalLm, WritesItsResultToAFileOrNamesThatFile) {
  const auto path = (folder_ / "stats").string();
  const auto result = eval_lm("--log-format json --stats-path " + path);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(testing::read_json(path + ".json"), nlohmann::json::parse(result.out));
  const auto failed = eval_lm("--stats-path " + (folder_ / "none/stats").string());
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_THAT(failed.err, HasSubstr("none/stats.json"));
}

}  // namespace
}  // namespace evomoe
