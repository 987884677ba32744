#include "evomoe/data/sentence_prediction_data.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "evomoe/data/indexed_dataset.h"
#include "evomoe/data/numpy_random.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using Ids = std::vector<int64_t>;
using testing::TemporaryFolder;

class SentencePrediction : public ::testing::Test {
 protected:
  void SetUp() override {
    make("input0", "a 1\nb 1\nc 1\nd 1\n", {{4, 5, 2}, {6, 2}, {7, 7, 7, 2}});
    make("input1", "a 1\nb 1\nc 1\nd 1\n", {{6, 2}, {7, 2}, {4, 2}});
    make("label", "no 2\nyes 1\nmadeupword0000 0\nmadeupword0001 0\n", {{4, 2}, {5, 2}, {4, 2}});
  }
  void make(const std::string& name, const std::string& dictionary, const std::vector<Ids>& items,
            const std::string& split = "train") {
    std::filesystem::create_directories(folder_ / name);
    testing::write_text(folder_ / name / "dict.txt", dictionary);
    IndexedBuilder builder(folder_ / name / split, 8);
    for (const auto& item : items) builder.add(item);
    builder.finish();
  }
  SentencePredictionData open(SentencePredictionDatasetOptions rows = {.init_token = 0,
                                                                       .separator_token = 2},
                              int64_t num_classes = 2) {
    return SentencePredictionData(folder_.path().string(),
                                  {.num_classes = num_classes, .rows = rows});
  }
  /// Labels that are numbers: `label` as fairseq's preparation of STS-B makes it.
  SentencePredictionData open_regression(const std::string& labels) {
    std::filesystem::remove_all(folder_ / "label");
    std::filesystem::create_directories(folder_ / "label");
    testing::write_text(folder_ / "label" / "train.label", labels);
    return SentencePredictionData(folder_.path().string(), {.num_classes = 1, .regression = true});
  }
  TemporaryFolder folder_;
};

TEST_F(SentencePrediction, ARowIsBothSentencesWithTheirMarksAndAClass) {
  auto data = open();
  EXPECT_EQ(data.source_dictionary().symbol(8), "<mask>");
  EXPECT_EQ(data.label_names(), (std::vector<std::string>{"no", "yes"}));
  const auto dataset = data.train(1, "train");
  const auto batch = dataset->collate(Ids{0, 1});
  EXPECT_EQ(batch.source, (Ids{0, 4, 5, 2, 2, 6, 2, 0, 6, 2, 2, 7, 2, 1}));
  EXPECT_EQ(batch.target, (Ids{0, 1}));
  EXPECT_EQ(batch.target_columns, 1);
  EXPECT_EQ(batch.lengths, (Ids{7, 6}));
  EXPECT_EQ(batch.tokens, 13);
  EXPECT_EQ(dataset->tokens(), 21);
  EXPECT_EQ(dataset, data.train(5, "train"));
}

TEST_F(SentencePrediction, ItemsComeInADrawnOrderWhateverTheirSizes) {
  auto data = open();
  const auto permutation = NumpyRandom(7).permutation(3);
  const auto order = data.train(1, "train")->ordered_indices(7);
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(order[permutation[i]], i);
  auto unshuffled = open({.shuffle = false});
  EXPECT_EQ(unshuffled.train(1, "train")->ordered_indices(7), (Ids{0, 1, 2}));
}

TEST_F(SentencePrediction, SingleSentencesNeedNoSecondFolder) {
  std::filesystem::remove_all(folder_ / "input1");
  auto data = open();
  EXPECT_EQ(data.train(1, "train")->collate(Ids{1}).source, (Ids{0, 6, 2}));
}

TEST_F(SentencePrediction, LongRowsAreCutAsAsked) {
  auto truncated = open({.init_token = 0, .shorten = ShortenMethod::kTruncate, .max_positions = 4});
  EXPECT_EQ(truncated.train(1, "train")->collate(Ids{2}).source, (Ids{0, 7, 7, 7}));
  auto cropped = open({.init_token = 0, .shorten = ShortenMethod::kRandomCrop, .max_positions = 4});
  const Ids whole{0, 7, 7, 7, 2, 4, 2};
  for (int64_t epoch = 1; epoch < 5; ++epoch) {
    const auto row = cropped.train(epoch, "train")->collate(Ids{2}).source;
    ASSERT_EQ(row.size(), 4u);
    const auto begin = static_cast<int64_t>(NumpyRandom::of_item(1, epoch, 2).interval(2));
    EXPECT_EQ(row, Ids(whole.begin() + begin, whole.begin() + begin + 4));
  }
}

TEST_F(SentencePrediction, ATestSetMayLackLabelsButTrainingMayNot) {
  make("input0", "a 1\nb 1\nc 1\nd 1\n", {{4, 2}}, "test");
  make("input1", "a 1\nb 1\nc 1\nd 1\n", {{5, 2}}, "test");
  auto data = open();
  const auto rows = data.open_rows("test", false);
  EXPECT_FALSE(rows->has_labels());
  EXPECT_EQ(rows->collate(Ids{0}).target_columns, 0);
  expect_error([&] { data.open("test", false, 0); }, {"test", "label"});
}

TEST_F(SentencePrediction, WhatIsWrongIsNamed) {
  expect_error([&] { open({}, 1); }, {"--num-classes is 1", "no, yes", "--num-classes 2"});
  expect_error([&] { open({.init_token = 99}); }, {"--init-token", "99"});
  auto data = open();
  expect_error([&] { data.open("valid", false, 0); }, {"`valid`", "train", "input0"});
  expect_error([&] { parse_shorten_method("crop"); }, {"`crop`", "random_crop"});
  make("label", "no 2\nyes 1\n", {{4, 2}, {3, 2}, {4, 2}});
  auto unknown = open();
  expect_error([&] { unknown.train(1, "train"); }, {"row 1", "<unk>", "no, yes"});
  make("label", "no 2\nyes 1\n", {{4, 2}, {4, 2}});
  auto short_one = open();
  expect_error([&] { short_one.train(1, "train"); }, {"3 lines", "2 labels"});
}

TEST_F(SentencePrediction, TheNumbersOfARegressionAreReadFromATextBesideTheSentences) {
  auto data = open_regression("0.76\n +1e-1 \r\n-5");
  const auto batch = data.train(1, "train")->collate(Ids{2, 0, 1});
  EXPECT_EQ(batch.numbers, (std::vector<float>{-5.0F, 0.76F, 0.1F}));
  EXPECT_TRUE(batch.target.empty());
  EXPECT_EQ(batch.target_columns, 1);
  EXPECT_TRUE(data.label_names().empty());
}

TEST_F(SentencePrediction, NumbersOfFurtherPartsOfASplitFollow) {
  make("input0", "a 1\nb 1\nc 1\nd 1\n", {{4, 2}}, "train1");
  make("input1", "a 1\nb 1\nc 1\nd 1\n", {{5, 2}}, "train1");
  auto data = open_regression("1\n2\n3\n");
  testing::write_text(folder_ / "label" / "train1.label", "4\n");
  EXPECT_EQ(data.train(1, "train")->collate(Ids{3, 2}).numbers, (std::vector<float>{4, 3}));
}

TEST_F(SentencePrediction, WhatIsNoNumberIsNamedByFileLineAndText) {
  for (const std::string line : {"good", "1,5", "1 2", "", "nan", "inf", "1e60", "0x1p3"}) {
    auto data = open_regression("1\n" + line + "\n3\n");
    expect_error([&] { data.train(1, "train"); },
                 {"label/train.label:2: `" + line + "` is not a number"});
  }
  auto few = open_regression("1\n2\n");
  expect_error([&] { few.train(1, "train"); }, {"3 lines", "label/train.label has 2 labels"});
  auto many = open_regression("1\n2\n3\n4\n");
  expect_error([&] { many.train(1, "train"); }, {"3 lines", "label/train.label has 4 labels"});
  std::filesystem::remove(folder_ / "label" / "train.label");
  SentencePredictionData none(folder_.path().string(), {.num_classes = 1, .regression = true});
  expect_error([&] { none.train(1, "train"); }, {"--regression-target", "label/train.label"});
}

}  // namespace
}  // namespace evomoe
