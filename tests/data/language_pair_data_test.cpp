#include "evomoe/data/language_pair_data.h"

#include <gtest/gtest.h>

#include "evomoe/data/batching.h"
#include "evomoe/data/indexed_dataset.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using Ids = std::vector<int64_t>;
using testing::TemporaryFolder;

std::shared_ptr<MemoryStream> corpus(const std::vector<Ids>& items, const std::string& name) {
  return std::make_shared<MemoryStream>(items, name);
}

LanguagePairDataset pairs(const std::vector<Ids>& source, const std::vector<Ids>& target,
                          const LanguagePairDatasetOptions& options = {}) {
  return LanguagePairDataset({{corpus(source, "train.de"), corpus(target, "train.en")}}, options);
}

TEST(LanguagePairDataset, PadsSourcesOnTheLeftAndSortsRowsByThem) {
  const auto dataset = pairs({{4, 2}, {5, 6, 7, 2}}, {{8, 9, 2}, {8, 2}});
  const auto batch = dataset.collate(Ids{0, 1});
  EXPECT_EQ(batch.ids, (Ids{1, 0}));
  EXPECT_EQ(batch.source, (Ids{5, 6, 7, 2, 1, 1, 4, 2}));
  EXPECT_EQ(batch.target, (Ids{8, 2, 1, 8, 9, 2}));
  EXPECT_EQ(batch.previous_output, (Ids{2, 8, 1, 2, 8, 9}));
  EXPECT_EQ(batch.lengths, (Ids{4, 2}));
  EXPECT_EQ(batch.tokens, 5);
  EXPECT_EQ(dataset.tokens(), 5);
  EXPECT_EQ(dataset.item_size(0), 3);
  EXPECT_EQ(dataset.item_size(1), 4);
}

TEST(LanguagePairDataset, PadsOnTheOtherSidesWhenAsked) {
  const auto dataset = pairs({{4, 2}, {5, 6, 2}}, {{8, 9, 2}, {8, 2}},
                             {.left_pad_source = false, .left_pad_target = true});
  const auto batch = dataset.collate(Ids{0, 1});
  EXPECT_EQ(batch.source, (Ids{5, 6, 2, 4, 2, 1}));
  EXPECT_EQ(batch.target, (Ids{1, 8, 2, 8, 9, 2}));
  EXPECT_EQ(batch.previous_output, (Ids{1, 2, 8, 2, 8, 9}));
}

TEST(LanguagePairDataset, CutsLongSourcesWhenAskedAndElseTheyDoNotFit) {
  LanguagePairDatasetOptions options{.max_source_positions = 3, .max_target_positions = 4};
  const std::vector<Ids> source{{4, 2}, {5, 6, 7, 8, 2}}, target{{4, 2}, {4, 2}};
  const auto whole = pairs(source, target, options);
  EXPECT_EQ(filter_by_size({0, 1}, whole, {}), Ids{0});
  expect_error(
      [&] {
        filter_by_size({0, 1}, whole,
                       {.skip_invalid = false, .positions_option = "--max-source-positions"});
      },
      {"item 1", "3 (source), 4 (target)", "--max-source-positions"});
  options.truncate_source = true;
  const auto cut = pairs(source, target, options);
  EXPECT_EQ(cut.source(1), (Ids{5, 6, 2}));
  EXPECT_EQ(cut.source(0), (Ids{4, 2}));
  EXPECT_EQ(filter_by_size({0, 1}, cut, {.skip_invalid = false}), (Ids{0, 1}));
  EXPECT_EQ(cut.collate(Ids{1}).source, (Ids{5, 6, 2}));
}

TEST(LanguagePairDataset, EachSideHasItsOwnLimit) {
  const auto dataset = pairs({{4, 5, 6, 7, 2}, {4, 2}}, {{4, 2}, {4, 5, 6, 2}},
                             {.max_source_positions = 5, .max_target_positions = 4});
  EXPECT_EQ(filter_by_size({0, 1}, dataset, {.max_positions = 4, .skip_invalid = false}),
            (Ids{0, 1}))
      << "a source may be longer than the target's positions";
  const auto without = pairs({{4, 5, 6, 7, 2}, {4, 2}}, {{4, 2}, {4, 5, 6, 2}}, {});
  EXPECT_EQ(filter_by_size({0, 1}, without, {.max_positions = 4}), Ids{1});
}

TEST(LanguagePairDataset, TheFirstPartIsReadSeveralTimesWhenAsked) {
  const LanguagePairDataset dataset(
      {{corpus({{4, 2}, {5, 2}}, "train.de"), corpus({{6, 2}, {7, 2}}, "train.en"), 2},
       {corpus({{8, 2}}, "train1.de"), corpus({{9, 9, 2}}, "train1.en")}},
      {});
  EXPECT_EQ(dataset.size(), 5);
  EXPECT_EQ(dataset.source(2), (Ids{4, 2}));
  EXPECT_EQ(dataset.target(3), (Ids{7, 2}));
  EXPECT_EQ(dataset.target(4), (Ids{9, 9, 2}));
  EXPECT_EQ(dataset.tokens(), 11);
}

TEST(LanguagePairDataset, SidesOfUnequalCountAreRefusedWithBothCounts) {
  expect_error(
      [] {
        pairs({{4, 2}, {5, 2}}, {{4, 2}});
      },
      {"train.de has 2 lines", "train.en has 1"});
}

TEST(LanguagePairDataset, SourcesAloneMakeABatchWithoutTargets) {
  const auto batch = source_batch({{4, 2}, {5, 6, 2}});
  EXPECT_EQ(batch.source, (Ids{5, 6, 2, 1, 4, 2}));
  EXPECT_EQ(batch.ids, (Ids{1, 0}));
  EXPECT_EQ(batch.target_columns, 0);
  EXPECT_TRUE(batch.target.empty());
  EXPECT_TRUE(batch.previous_output.empty());
  EXPECT_EQ(batch.tokens, 5);
}

class PairFolders : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const auto* lang : {"de", "en"}) {
      testing::write_text(folder_ / (std::string("dict.") + lang + ".txt"), "a 1\nb 1\nc 1\nd 1\n");
    }
  }
  /// Two lines of `token`, or as many as asked for.
  void make(const std::string& name, int64_t token, int lines = 2) {
    IndexedBuilder builder(folder_ / name, 8);
    for (int i = 0; i < lines; ++i) builder.add(Ids{token, 2});
    builder.finish();
  }
  void make_pair(const std::string& split, int64_t token) {
    make(split + ".de-en.de", token);
    make(split + ".de-en.en", token + 1);
  }
  LanguagePairData open(LanguagePairDataOptions options = {}) {
    return LanguagePairData(folder_.path().string(), std::move(options));
  }
  TemporaryFolder folder_;
};

TEST_F(PairFolders, LanguagesComeFromTheFileNamesOrAreGivenEitherWay) {
  make_pair("train", 4);
  auto data = open();
  EXPECT_EQ(data.source_lang(), "de");
  EXPECT_EQ(data.target_lang(), "en");
  EXPECT_EQ(data.train(1, "train"), data.train(2, "train"));
  EXPECT_EQ(data.train(1, "train")->collate(Ids{0}).source, (Ids{4, 2}));
  for (LanguagePairDataOptions back :
       {LanguagePairDataOptions{.source_lang = "en", .target_lang = "de"},
        LanguagePairDataOptions{.source_lang = "en"},
        LanguagePairDataOptions{.target_lang = "de"}}) {
    auto reversed = open(back);
    const auto batch = reversed.train(1, "train")->collate(Ids{0});
    EXPECT_EQ(batch.source, (Ids{5, 2}));
    EXPECT_EQ(batch.target, (Ids{4, 2}));
  }
}

TEST_F(PairFolders, TrainingReadsNumberedSplitsAndTheFirstAsOftenAsAsked) {
  for (const auto* split : {"train", "train1", "valid", "valid1"}) make_pair(split, 4);
  auto data = open({.upsample_primary = 3});
  EXPECT_EQ(data.train(1, "train")->size(), 8);
  EXPECT_EQ(data.open("valid", false, 0)->size(), 2);
  EXPECT_EQ(data.unused_valid_splits({"valid"}), std::vector<std::string>{"valid1"});
}

TEST_F(PairFolders, ATestSetMayLackItsTargetsButTrainingMayNot) {
  make_pair("train", 4);
  make("test.de-en.de", 6);
  auto data = open();
  const auto test = data.open_pairs("test", false);
  EXPECT_FALSE(test->has_target());
  EXPECT_EQ(test->tokens(), 4);
  EXPECT_EQ(test->ordered_indices(1), (Ids{0, 1}));
  expect_error([&] { data.open("test", false, 0); }, {"test.de-en.de", "`en`"});
}

TEST_F(PairFolders, WhatIsWrongIsNamed) {
  expect_error([&] { open(); }, {"train.de-en.de.idx", "--source-lang"});
  make_pair("train", 4);
  auto data = open();
  expect_error([&] { data.open("valid", false, 0); }, {"valid.de-en", "there are: train"});
  expect_error([&] { open({.source_lang = "de", .target_lang = "fr"}); }, {"dict.fr.txt"});
  expect_error([&] { open({.source_lang = "de", .target_lang = "de"}); }, {"both `de`"});
  make("valid.de-en.de", 4, 3);
  make("valid.de-en.en", 4, 2);
  expect_error([&] { data.open("valid", false, 0); },
               {"valid.de-en.de has 3 lines", "valid.de-en.en has 2"});
  testing::write_text(folder_ / "dict.en.txt", "a 1\n");  // of another pair
  auto other = open();
  expect_error([&] { other.train(1, "train"); }, {"train.de-en.en", "5 symbols"});
  make("train.de-fr.de", 4);
  expect_error([&] { open(); }, {"de-en, de-fr", "--target-lang"});
}

}  // namespace
}  // namespace evomoe
