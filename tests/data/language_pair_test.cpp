#include <gtest/gtest.h>

#include "evomoe/data/binarize.h"
#include "evomoe/data/language_pair_data.h"
#include "tests/data/expect_error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using Ids = std::vector<int64_t>;

TEST(PreprocessPairs, MakesTheReferencesFilesByteForByte) {
  const auto text = testing::golden_text_dir() / "multi30k-slice";
  if (!std::filesystem::exists(text)) GTEST_SKIP() << text << " is absent (EVOMOE_GOLDEN_TEXT)";
  const testing::TemporaryFolder folder;
  PreprocessOptions options;
  options.source_lang = "de";
  options.target_lang = "en";
  options.joined_dictionary = true;
  options.nwordssrc = options.nwordstgt = 500;
  options.trainpref = (text / "train").string();
  options.validpref = (text / "valid").string();
  options.destdir = folder / "bin";
  preprocess(options);
  int compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(text / "bin")) {
    const auto name = entry.path().filename();
    EXPECT_EQ(testing::read_text(folder / "bin" / name), testing::read_text(entry.path())) << name;
    ++compared;
  }
  EXPECT_EQ(compared, 10);
}

class PairFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    write("train.de", "ein Hund\nzwei große Hunde\nja\n");
    write("train.en", "a dog\ntwo large dogs\nyes\n");
    options_.source_lang = "de";
    options_.target_lang = "en";
    options_.padding_factor = 1;
    options_.trainpref = (folder_ / "train").string();
    options_.destdir = folder_ / "bin";
  }
  void write(const std::string& name, const std::string& text) {
    testing::write_text(folder_ / name, text);
  }
  LanguagePairData data(const std::string& source = "de", const std::string& target = "en",
                        const LanguagePairDatasetOptions& how = {}) {
    return LanguagePairData((folder_ / "bin").string(),
                            {.source_lang = source, .target_lang = target, .pairs = how});
  }

  testing::TemporaryFolder folder_;
  PreprocessOptions options_;
};

TEST_F(PairFolder, EachSideHasItsDictionaryOrBothHaveOne) {
  preprocess(options_);
  EXPECT_EQ(data().source_dictionary().size(), 4 + 6);
  EXPECT_EQ(data().target_dictionary().size(), 4 + 6);
  EXPECT_FALSE(data().source_dictionary().contains("dog"));
  options_.destdir = folder_ / "joined";
  options_.joined_dictionary = true;
  preprocess(options_);
  EXPECT_EQ(testing::read_text(folder_ / "joined/dict.de.txt"),
            testing::read_text(folder_ / "joined/dict.en.txt"));
}

TEST_F(PairFolder, ABatchIsPaddedOnTheLeftSortedByLengthAndShiftedForTheDecoder) {
  preprocess(options_);
  auto pairs = data();
  const auto& de = pairs.source_dictionary();
  const auto& en = pairs.target_dictionary();
  const Ids items = {0, 1, 2};
  const auto batch = pairs.train(1, "train")->collate(items);
  EXPECT_EQ(batch.ids, (Ids{1, 0, 2}));
  EXPECT_EQ(batch.lengths, (Ids{4, 3, 2}));
  EXPECT_EQ(batch.columns, 4);
  EXPECT_EQ(batch.target_columns, 4);
  EXPECT_EQ(batch.tokens, 4 + 3 + 2);
  EXPECT_EQ(Ids(batch.source.begin() + 4, batch.source.begin() + 8),
            (Ids{Dictionary::kPad, de.index("ein"), de.index("Hund"), Dictionary::kEos}));
  EXPECT_EQ(Ids(batch.target.begin() + 4, batch.target.begin() + 8),
            (Ids{en.index("a"), en.index("dog"), Dictionary::kEos, Dictionary::kPad}));
  EXPECT_EQ(Ids(batch.previous_output.begin() + 4, batch.previous_output.begin() + 8),
            (Ids{Dictionary::kEos, en.index("a"), en.index("dog"), Dictionary::kPad}));
}

TEST_F(PairFolder, EitherDirectionCanBeTrained) {
  preprocess(options_);
  auto other = data("en", "de");
  EXPECT_TRUE(other.source_dictionary().contains("dog"));
  EXPECT_EQ(other.train(1, "train")->size(), 3);
  EXPECT_EQ(infer_language_pair(folder_ / "bin"), (std::pair<std::string, std::string>{"de", "en"}));
}

TEST_F(PairFolder, ASideWithoutTheOtherCanBeTranslatedButNotTrained) {
  preprocess(options_);
  std::filesystem::remove(folder_ / "bin/train.de-en.en.idx");
  auto pairs = data();
  const Ids items = {0};
  const auto batch = pairs.open_pairs("train", false)->collate(items);
  EXPECT_TRUE(batch.target.empty());
  EXPECT_EQ(batch.previous_output, Ids{Dictionary::kEos});
  expect_error([&] { pairs.train(1, "train"); }, {"train.de-en"});
}

TEST_F(PairFolder, LongSourcesAreCutWithTheirEnd) {
  preprocess(options_);
  auto pairs = data("de", "en", {.truncate_source = true, .max_source_positions = 2});
  const auto set = pairs.open_pairs("train", false);
  EXPECT_EQ(set->source(1).size(), 2U);
  EXPECT_EQ(set->source(1).back(), Dictionary::kEos);
}

TEST_F(PairFolder, UnequalSidesAreRefusedBeforeAnyWork) {
  write("train.en", "a dog\ntwo large dogs\n");
  expect_error([&] { preprocess(options_); }, {"train.de has 3 lines", "train.en has 2"});
  EXPECT_FALSE(std::filesystem::exists(folder_ / "bin/dict.de.txt"));
}

TEST_F(PairFolder, AnotherPairIsNamed) {
  preprocess(options_);
  expect_error([&] { data("de", "fr"); }, {"dict.fr.txt"});
  auto pairs = data();
  expect_error([&] { pairs.open("test", false, 0); }, {"test", "train"});
}

}  // namespace
}  // namespace evomoe
