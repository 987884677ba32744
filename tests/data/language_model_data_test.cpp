#include "evomoe/data/language_model_data.h"

#include <gtest/gtest.h>

#include <limits>

#include "evomoe/data/indexed_dataset.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using Ids = std::vector<int64_t>;
using testing::TemporaryFolder;

std::shared_ptr<MemoryStream> corpus(const std::vector<Ids>& items) {
  return std::make_shared<MemoryStream>(items, "corpus");
}

TEST(LanguageModelDataset, PadsToTheRightAndCountsRealTokens) {
  const LanguageModelDataset dataset(corpus({{4, 5, 6, 2}, {7, 2}}),
                                     {.break_mode = BreakMode::kEos});
  const auto batch = dataset.collate(Ids{1, 0});
  EXPECT_EQ(batch.rows, 2);
  EXPECT_EQ(batch.columns, 4);
  EXPECT_EQ(batch.source, (Ids{2, 7, 1, 1, 2, 4, 5, 6}));
  EXPECT_EQ(batch.target, (Ids{7, 2, 1, 1, 4, 5, 6, 2}));
  EXPECT_EQ(batch.ids, (Ids{1, 0}));
  EXPECT_EQ(batch.lengths, (Ids{2, 4}));
  EXPECT_EQ(batch.tokens, 6);
}

TEST(LanguageModelDataset, AddsBosAndPadsToFixedSizes) {
  LanguageModelDatasetOptions options;
  options.tokens_per_sample = 4;
  options.break_mode = BreakMode::kEos;
  options.add_bos_token = true;
  options.pad_to_fixed_length = true;
  options.pad_to_batch_size = 3;
  const LanguageModelDataset dataset(corpus({{4, 2}}), options);
  const auto batch = dataset.collate(Ids{0});
  EXPECT_EQ(batch.rows, 3);
  EXPECT_EQ(batch.columns, 4);
  EXPECT_EQ(batch.source, (Ids{0, 2, 4, 1, 1, 1, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(batch.target, (Ids{0, 4, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(batch.tokens, 3);
  EXPECT_EQ(dataset.tokens(), 3);
}

TEST(LanguageModelDataset, NamesWhatItDoesNotHave) {
  const LanguageModelDataset dataset(corpus({{4, 2}, {5, 6, 2}}), {.tokens_per_sample = 3});
  expect_error([&] { LanguageModelDataset(corpus({}), {}); }, {"no text"});
  expect_error([&] { dataset.item(2); }, {"2 blocks"});
}

/// The target of the first block.
Ids first_target(const std::shared_ptr<const Dataset>& dataset) {
  return dataset->collate(Ids{0}).target;
}

class LanguageModelFolders : public ::testing::Test {
 protected:
  void make(const std::string& name, const std::vector<std::string>& splits, int64_t token) {
    std::filesystem::create_directories(folder_ / name);
    testing::write_text(folder_ / name / "dict.txt", "a 1\nb 1\nc 1\nd 1\n");
    for (const auto& split : splits) {
      IndexedBuilder builder(folder_ / name / split, 8);
      builder.add(Ids{token, token, 2});
      builder.finish();
    }
  }
  std::string at(const std::string& name) { return (folder_ / name).string(); }
  TemporaryFolder folder_;
};

TEST_F(LanguageModelFolders, EachEpochUsesItsDataPath) {
  make("a", {"train", "valid"}, 4);
  make("b", {"train"}, 5);
  LanguageModelData data(at("a") + ":" + at("b"), {});
  EXPECT_EQ(data.shards(), 2);
  const auto first = data.train(1, "train");
  EXPECT_EQ(first, data.train(1, "train"));
  EXPECT_EQ(first_target(first), (Ids{4, 4, 2}));
  EXPECT_EQ(first_target(data.train(2, "train")), (Ids{5, 5, 2}));
  EXPECT_EQ(first_target(data.train(3, "train")), (Ids{4, 4, 2}));
}

TEST_F(LanguageModelFolders, EachFileIsOpenedAndCheckedOnce) {
  make("a", {"train", "valid"}, 4);
  make("b", {"train"}, 5);
  LanguageModelData data(at("a") + ":" + at("b"), {});
  const auto first = data.train(1, "train"), second = data.train(2, "train");
  const auto valid = data.open("valid", false, 0);
  // What is gone cannot be opened again.
  for (const auto* name : {"a/train", "b/train", "a/valid"}) {
    std::filesystem::rename(folder_ / (name + std::string(".bin")), folder_ / "gone");
  }
  EXPECT_EQ(data.train(3, "train"), first);
  EXPECT_EQ(data.train(4, "train"), second);
  EXPECT_EQ(data.open("valid", false, 4)->collate(Ids{0}).ids, valid->collate(Ids{0}).ids);
}

TEST_F(LanguageModelFolders, TrainingSplitsOfAnEpochAreNotMixedUp) {
  make("a", {"train", "other"}, 4);
  make("a", {"other"}, 5);
  LanguageModelData data(at("a"), {});
  EXPECT_EQ(first_target(data.train(1, "train")), (Ids{4, 4, 2}));
  EXPECT_EQ(first_target(data.train(1, "other")), (Ids{5, 5, 2}));
}

TEST_F(LanguageModelFolders, TrainingCombinesNumberedSplitsAndValidationOnlyWhenAsked) {
  make("a", {"train", "train1", "valid", "valid1"}, 4);
  LanguageModelData data(at("a"), {});
  EXPECT_EQ(data.train(1, "train")->tokens(), 6);
  EXPECT_EQ(data.open("valid", false, 0)->tokens(), 3);
  EXPECT_EQ(data.open("valid", true, 0)->tokens(), 6);
  EXPECT_EQ(data.open("valid1", false, 0)->tokens(), 3);
  EXPECT_EQ(data.unused_valid_splits({"valid"}), std::vector<std::string>{"valid1"});
  EXPECT_TRUE(data.unused_valid_splits({"valid", "valid1"}).empty());
}

TEST_F(LanguageModelFolders, ATokenBeyondTheDictionaryIsFoundWhenTheDataIsOpened) {
  make("a", {"train", "valid"}, 7);
  LanguageModelData good(at("a"), {});
  EXPECT_NO_THROW(good.train(1, "train"));
  testing::write_text(folder_ / "a/dict.txt", "a 1\nb 1\nc 1\n");
  LanguageModelData data(at("a"), {});
  expect_error([&] { data.train(1, "train"); },
               {"train", "item 0", "token 7", "7 symbols", "dict.txt"});
  expect_error([&] { data.open("valid", false, 0); }, {"valid", "item 0", "token 7"});
}

TEST(TokenStream, ChecksEveryTokenOfEveryPart) {
  const TemporaryFolder folder;
  for (const int64_t vocabulary : {100, 70000}) {  // elements of 2 and of 4 bytes
    IndexedBuilder builder(folder / "long", vocabulary);
    Ids item(100000, 3);
    for (int i = 0; i < 200; ++i) builder.add(item);
    item.back() = 60;
    builder.add(item);
    builder.add(Ids{50});
    builder.finish();
    const auto stream = open_indexed(folder / "long");
    EXPECT_NO_THROW(stream->check_tokens(61));
    expect_error([&] { stream->check_tokens(60); }, {"item 200", "token 60", "60 symbols"});
  }
  const ConcatenatedStream both({corpus({{1, 2}}), corpus({{3}, {-1}})});
  expect_error([&] { both.check_tokens(5); }, {"item 2", "token -1"});
}

TEST(TokenBlocks, TheLargestBlockSizeIsOneBlock) {
  const LanguageModelDataset dataset(corpus({{4, 5, 2}, {6, 2}}),
                                     {.tokens_per_sample = std::numeric_limits<int64_t>::max()});
  EXPECT_EQ(dataset.size(), 1);
  EXPECT_EQ(dataset.item_size(0), 5);
}

TEST_F(LanguageModelFolders, MissingThingsAreNamedWithWhatIsThere) {
  make("a", {"train", "dev"}, 4);
  LanguageModelData data(at("a"), {});
  expect_error([&] { data.open("valid", false, 0); },
               {"`valid`", "dev, train", "--valid-subset", "--disable-validation"});
  expect_error([&] { data.train(1, "training"); }, {"`training`", "dev, train", "--train-subset"});
  expect_error([&] { LanguageModelData(at("none"), {}); }, {"none", "evomoe preprocess"});
  expect_error([&] { LanguageModelData(at("a") + ":" + at("none"), {}); }, {"none"});
  expect_error([&] { LanguageModelData(at("a") + "::b", {}); }, {"empty part"});
  std::filesystem::create_directories(folder_ / "bare");
  expect_error([&] { LanguageModelData(at("bare"), {}); }, {"dict.txt"});
}

}  // namespace
}  // namespace evomoe
