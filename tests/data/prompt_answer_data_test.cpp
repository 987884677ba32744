#include "evomoe/data/prompt_answer_data.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "evomoe/data/batching.h"
#include "evomoe/data/indexed_dataset.h"
#include "evomoe/text/text_tokens.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using Ids = std::vector<int64_t>;

std::shared_ptr<MemoryStream> side(const std::vector<Ids>& items, const std::string& name) {
  return std::make_shared<MemoryStream>(items, name);
}

std::shared_ptr<const PromptAnswerDataset> examples(const std::vector<Ids>& prompts,
                                                    const std::vector<Ids>& answers,
                                                    const PromptAnswerDatasetOptions& how = {}) {
  return std::make_shared<PromptAnswerDataset>(side(prompts, "prompts"), side(answers, "answers"),
                                               how);
}

const std::vector<Ids> kPrompts = {{4, 5, 6, 2}, {2}, {7, 2}, {4, 4, 4, 4, 4, 4, 2}};
const std::vector<Ids> kAnswers = {{8, 2}, {9, 9, 2}, {5, 6, 2}, {7, 2}};

TEST(PromptAnswerDataset, OnlyTheAnswerAndItsEndAreTargets) {
  const auto data = examples(kPrompts, kAnswers);
  const auto batch = data->collate(Ids{0, 1, 2});
  EXPECT_EQ(batch.rows, 3);
  EXPECT_EQ(batch.columns, 5);
  EXPECT_EQ(batch.source, (Ids{2, 4, 5, 6, 8, 2, 9, 9, 1, 1, 2, 7, 5, 6, 1}));
  EXPECT_EQ(batch.target, (Ids{1, 1, 1, 8, 2, 9, 9, 2, 1, 1, 1, 5, 6, 2, 1}));
  EXPECT_EQ(batch.lengths, (Ids{5, 3, 4}));
  EXPECT_EQ(batch.tokens, 2 + 3 + 3) << "answers alone are counted";
  EXPECT_TRUE(batch.segment.empty());
  EXPECT_EQ(data->tokens(), 10);
  EXPECT_TRUE(data->collate(Ids{}).empty());
}

TEST(PromptAnswerDataset, ItemsAreOrderedByTheLengthOfTheirRows) {
  const auto data = examples(kPrompts, kAnswers);
  EXPECT_EQ(data->ordered_indices(1), (Ids{1, 2, 0, 3}));
  EXPECT_EQ(data->item_size(3), 8);
}

TEST(PromptAnswerDataset, LongExamplesDoNotFitUnlessTheirPromptIsCutOnTheLeft) {
  auto data = examples(kPrompts, kAnswers, {.tokens_per_sample = 4});
  EXPECT_FALSE(data->fits(0, 100));
  EXPECT_TRUE(data->fits(1, 100));
  EXPECT_FALSE(data->fits(1, 2)) << "the model's positions hold too";
  EXPECT_EQ(data->limit(100), "--tokens-per-sample 4");
  EXPECT_EQ(data->limit(3), "the model's 3 positions");
  const auto left = filter_by_size({0, 1, 2, 3}, *data, {.max_positions = 100});
  EXPECT_EQ(left, (Ids{1, 2}));

  data = examples(kPrompts, kAnswers, {.tokens_per_sample = 4, .truncate_prompt = true});
  for (int64_t item = 0; item < data->size(); ++item) EXPECT_TRUE(data->fits(item, 100)) << item;
  EXPECT_EQ(data->prompt(0), (Ids{5, 6}));
  const auto batch = data->collate(Ids{0});
  EXPECT_EQ(batch.source, (Ids{2, 5, 6, 8}));
  EXPECT_EQ(batch.target, (Ids{1, 1, 8, 2}));
  // Answers are never cut.
  data = examples(kPrompts, kAnswers, {.tokens_per_sample = 2, .truncate_prompt = true});
  EXPECT_EQ(data->prompt(2), Ids{});
  EXPECT_FALSE(data->fits(2, 100));
}

TEST(PromptDataset, WhatIsReadDoesNotDependOnTheAnswer) {
  const std::vector<Ids> prompts = {{4, 5, 6, 7, 8, 9, 4, 2}, {4, 5, 6, 7, 8, 9, 2}};
  const PromptAnswerDatasetOptions cut{.tokens_per_sample = 8, .truncate_prompt = true};
  for (const auto& answer : {Ids{5, 2}, Ids{5, 6, 7, 8, 9, 2}}) {
    const PromptDataset data(examples(prompts, {answer, answer}, cut));
    // Too long for one more token and its end, so that half of the positions is read.
    EXPECT_EQ(data.item_size(0), 4);
    EXPECT_EQ(data.collate(Ids{0}).source, (Ids{2, 8, 9, 4}));
    EXPECT_EQ(data.collate(Ids{0}).target, answer);
    EXPECT_EQ(data.collate(Ids{1}).source, (Ids{2, 4, 5, 6, 7, 8, 9})) << "there is room";
  }
  const PromptDataset whole(examples(prompts, {{5, 2}, {5, 2}}, {.tokens_per_sample = 4}));
  EXPECT_EQ(whole.item_size(0), 8);
}

TEST(PromptAnswerDataset, WhatDoesNotBelongTogetherIsRefused) {
  expect_error(
      [] {
        examples({{4, 2}}, {{5, 2}, {6, 2}});
      },
      {"prompts has 1 prompts", "answers has 2 answers", "evomoe preprocess --examples"});
  expect_error([] { examples({}, {}); }, {"no example"});
  expect_error(
      [] {
        examples({{4, 2}, {4}}, {{5, 2}, {6, 2}});
      },
      {"prompts: item 1 does not end with </s>"});
  expect_error([] { examples({{4, 2}}, {{2}}); }, {"answers: answer 0 is empty"});
  expect_error([] { examples(kPrompts, kAnswers)->collate(Ids{4}); }, {"no example 4"});
}

TEST(PackedExamplesDataset, RowsHoldEachExampleOnceAndWholeWithASegmentOfItsOwn) {
  const auto data = examples(kPrompts, kAnswers, {.tokens_per_sample = 9});
  const PackedExamplesDataset packed(data, /*row_tokens=*/9);
  ASSERT_EQ(packed.size(), 3);  // 8 | 5 + 4 | 3
  const auto in_row = [&](int64_t row) {
    const auto found = packed.examples_in(row);
    return Ids(found.begin(), found.end());
  };
  EXPECT_EQ(in_row(0), (Ids{3}));
  EXPECT_EQ(in_row(1), (Ids{0, 2}));
  EXPECT_EQ(in_row(2), (Ids{1}));
  const auto batch = packed.collate(Ids{1, 2});
  EXPECT_EQ(batch.columns, 9);
  EXPECT_EQ(batch.source, (Ids{2, 4, 5, 6, 8, 2, 7, 5, 6, 2, 9, 9, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(batch.target, (Ids{1, 1, 1, 8, 2, 1, 5, 6, 2, 9, 9, 2, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(batch.segment, (Ids{1, 1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(batch.tokens, 2 + 3 + 3);
  EXPECT_EQ(packed.tokens(), data->tokens());
}

TEST(PackedExamplesDataset, FillsRowsAndLeavesOutOnlyWhatIsTooLong) {
  std::vector<Ids> prompts, answers;
  int64_t all = 0;
  for (int64_t i = 0; i < 500; ++i) {
    prompts.emplace_back(1 + (i * 7) % 23, 4);
    answers.emplace_back(2 + (i * 5) % 11, 5);
    prompts.back().back() = answers.back().back() = 2;
    all += static_cast<int64_t>(prompts.back().size() + answers.back().size()) - 1;
  }
  prompts.emplace_back(60, 4);
  prompts.back().back() = 2;
  answers.push_back({5, 2});
  const PackedExamplesDataset packed(examples(prompts, answers, {.tokens_per_sample = 48}), 48);
  std::set<int64_t> seen;
  for (int64_t row = 0; row < packed.size(); ++row) {
    for (const auto example : packed.examples_in(row))
      EXPECT_TRUE(seen.insert(example).second) << example;
    if (packed.examples_in(row).front() == 500) {
      EXPECT_FALSE(packed.fits(row, 0));
    } else {
      EXPECT_TRUE(packed.fits(row, 48));
      EXPECT_LE(packed.item_size(row), 48);
    }
  }
  EXPECT_EQ(seen.size(), 501U);
  EXPECT_LE(packed.size(), 1 + (all + 47) / 48 + 2) << "rows are nearly full";
}

TEST(PackedExamplesDataset, OnlyExamplesThatAreTooLongThemselvesAreLeftOutAndCounted) {
  // Of 4, 3, 3, 7 and 3 tokens.
  const auto data = examples({{4, 2}, {2}, {2}, {4, 5, 6, 7, 4, 2}, {2}},
                             {{4, 5, 2}, {4, 5, 2}, {4, 5, 2}, {5, 2}, {4, 5, 2}}, {});
  const PackedExamplesDataset packed(data, /*row_tokens=*/6);
  std::vector<int64_t> items(static_cast<size_t>(packed.size()));
  std::iota(items.begin(), items.end(), 0);
  std::set<int64_t> left;
  for (const auto item : filter_by_size(items, packed, {.max_tokens = 6})) {
    const auto found = packed.examples_in(item);
    left.insert(found.begin(), found.end());
  }
  EXPECT_EQ(left, (std::set<int64_t>{0, 1, 2, 4}));
  expect_error([&] { filter_by_size(items, packed, {.max_tokens = 6, .skip_invalid = false}); },
               {"1 of 5 items is too long", "(item 3 has 7 tokens)"});
}

class PromptAnswerFolders : public ::testing::Test {
 protected:
  void make(const std::string& file, const std::vector<Ids>& items) {
    testing::write_text(folder_ / "dict.txt", "a 1\nb 1\nc 1\nd 1\n");
    IndexedBuilder builder(folder_ / file, 8);
    for (const auto& item : items) builder.add(item);
    builder.finish();
  }
  std::string path() const { return folder_.path().string(); }
  testing::TemporaryFolder folder_;
};

TEST_F(PromptAnswerFolders, SplitsAreReadWithTheirNumberedPartsInTraining) {
  make("train.prompt", {{4, 2}});
  make("train.answer", {{5, 2}});
  make("train1.prompt", {{6, 2}});
  make("train1.answer", {{7, 2}});
  make("valid.prompt", {{4, 2}});
  make("valid.answer", {{5, 2}});
  make("valid1.prompt", {{4, 2}});
  make("valid1.answer", {{5, 2}});
  PromptAnswerData data(path(), {});
  const auto train = data.train(1, "train");
  EXPECT_EQ(train, data.train(2, "train"));
  EXPECT_EQ(train->collate(Ids{0, 1}).target, (Ids{1, 5, 2, 1, 7, 2}));
  EXPECT_EQ(data.open("valid", /*combine=*/false, 0)->size(), 1);
  EXPECT_EQ(data.unused_valid_splits({"valid"}), (std::vector<std::string>{"valid1"}));
  const auto prompts = data.open_prompts("valid");
  const auto batch = prompts->collate(Ids{0});
  EXPECT_EQ(batch.source, (Ids{2, 4}));
  EXPECT_EQ(batch.target, (Ids{5, 2}));
}

TEST_F(PromptAnswerFolders, OnlyTrainingIsPacked) {
  for (const std::string split : {"train", "valid"}) {
    make(split + ".prompt", {{4, 2}, {5, 2}});
    make(split + ".answer", {{5, 2}, {6, 2}});
  }
  PromptAnswerData data(path(), {.tokens_per_sample = 6}, /*packed_tokens=*/6);
  EXPECT_EQ(data.train(1, "train")->size(), 1);
  EXPECT_EQ(data.open("valid", false, 0)->size(), 2);
}

TEST_F(PromptAnswerFolders, WhatIsMissingIsNamed) {
  make("train.prompt", {{4, 2}});
  expect_error([&] { PromptAnswerData(path(), {}).train(1, "train"); },
               {"train.prompt is there", "train.answer is not"});
  make("train.answer", {{5, 2}});
  expect_error([&] { PromptAnswerData(path(), {}).open("valid", false, 0); },
               {"split `valid`", "there are: train"});
  expect_error([&] { PromptAnswerData(path(), {}).open("train", false, 8); },
               {"--pad-to-fixed-bsz"});
  std::filesystem::remove(folder_ / "train.prompt.idx");
  std::filesystem::remove(folder_ / "train.answer.idx");
  make("train", {{4, 2}});
  expect_error([&] { PromptAnswerData(path(), {}).train(1, "train"); },
               {"no prompts with answers", "evomoe preprocess --examples"});
}

TEST(TextTokens, SpecialSymbolsThatATextSpellsAreUnknownWords) {
  Dictionary dictionary;
  dictionary.add("word", 1);
  EXPECT_EQ(text_tokens("<s> word <pad>\n</s> <unk> other", dictionary, nullptr),
            (std::vector<int64_t>{Dictionary::kUnk, 4, Dictionary::kUnk, Dictionary::kUnk,
                                  Dictionary::kUnk, Dictionary::kUnk}));
}

}  // namespace
}  // namespace evomoe
