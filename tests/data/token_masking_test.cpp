#include "evomoe/data/token_masking.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

#include "evomoe/data/indexed_dataset.h"
#include "evomoe/data/masked_language_model_data.h"
#include "evomoe/data/numpy_random.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/learn_bpe.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using Ids = std::vector<int64_t>;
using testing::TemporaryFolder;

Dictionary dictionary_of(int symbols) {
  Dictionary dictionary;
  for (int i = 0; i < symbols; ++i) dictionary.add("w" + std::to_string(i), i + 1);
  dictionary.add("<mask>");
  return dictionary;
}

struct Masked {
  Ids source, target;
  bool operator==(const Masked&) const = default;
};

Masked masked(const TokenMasking& masking, const Ids& item, int64_t epoch, int64_t index) {
  Masked result{item, Ids(item.size())};
  masking.mask(epoch, index, result.source, result.target);
  return result;
}

Ids long_item() {
  Ids item{0};
  for (int i = 0; i < 4000; ++i) item.push_back(4 + i % 50);
  return item;
}

TEST(NumpyRandom, SeedsAnItemByTheHashOfATupleAsPythonDoes) {
  const auto golden =
      testing::read_json(testing::golden_dir() / "data.json")["py_tuple_hash_mod_1e6"];
  for (const auto& [tuple, expected] : golden.items()) {
    long a = 0, b = 0, c = 0;
    ASSERT_EQ(std::sscanf(tuple.c_str(), "(%ld, %ld, %ld)", &a, &b, &c), 3) << tuple;
    EXPECT_EQ(python_tuple_hash_modulo_million(a, b, c), expected.get<int64_t>()) << tuple;
  }
}

TEST(NumpyRandom, DrawsNormalNumbersAsNumpy) {
  // numpy.random.seed(1); numpy.random.normal(size=4)
  NumpyRandom random(1);
  for (const double expected :
       {1.6243453636632417, -0.6117564136500754, -0.5281717522634557, -1.0729686221561705}) {
    EXPECT_NEAR(random.normal(3, 2), 3 + 2 * expected, 1e-12);
  }
}

TEST(TokenMasking, HidesTheAskedShareAndLeavesAllElse) {
  const TokenMasking masking({}, dictionary_of(50), 1, nullptr);
  const auto item = long_item();
  const auto [source, target] = masked(masking, item, 1, 0);
  int predicted = 0, hidden = 0, kept = 0;
  for (size_t i = 0; i < item.size(); ++i) {
    if (target[i] == Dictionary::kPad) {
      EXPECT_EQ(source[i], item[i]);
      continue;
    }
    EXPECT_EQ(target[i], item[i]);
    ++predicted;
    if (source[i] == 54) ++hidden;
    if (source[i] == item[i]) ++kept;
    EXPECT_GE(source[i], source[i] == item[i] ? 0 : 4);
  }
  EXPECT_NEAR(predicted, 0.15 * 4001, 1);
  EXPECT_NEAR(hidden, 0.8 * predicted, 0.06 * predicted);
  EXPECT_NEAR(kept, 0.1 * predicted, 0.05 * predicted);
}

TEST(TokenMasking, IsAFunctionOfSeedEpochAndItem) {
  const TokenMasking masking({}, dictionary_of(50), 1, nullptr);
  const TokenMasking other({}, dictionary_of(50), 2, nullptr);
  const auto item = long_item();
  const auto first = masked(masking, item, 1, 7);
  EXPECT_TRUE(first == masked(masking, item, 1, 7));
  EXPECT_FALSE(first == masked(masking, item, 2, 7));
  EXPECT_FALSE(first == masked(masking, item, 1, 8));
  EXPECT_FALSE(first == masked(other, item, 1, 7));
}

TEST(TokenMasking, WithoutSparedTokensAllPredictedOnesAreHidden) {
  const TokenMasking masking({.leave_unmasked_prob = 0, .random_token_prob = 0}, dictionary_of(50),
                             1, nullptr);
  const auto [source, target] = masked(masking, long_item(), 1, 0);
  for (size_t i = 0; i < source.size(); ++i) {
    EXPECT_EQ(source[i] == 54, target[i] != Dictionary::kPad) << i;
  }
}

TEST(TokenMasking, OtherTokensAreDrawnByFrequencyWhenAsked) {
  auto dictionary = dictionary_of(50);
  dictionary.add("w49", 1000000);  // now nearly all that is counted
  const TokenMasking masking(
      {.leave_unmasked_prob = 0, .random_token_prob = 1, .freq_weighted_replacement = true},
      dictionary, 1, nullptr);
  const auto [source, target] = masked(masking, long_item(), 1, 0);
  int drawn = 0, frequent = 0;
  for (size_t i = 0; i < source.size(); ++i) {
    if (target[i] == Dictionary::kPad) continue;
    ++drawn;
    if (source[i] == 53) ++frequent;
  }
  EXPECT_GT(frequent, 0.95 * drawn);
}

TEST(TokenMasking, CountsBelowZeroAreNoFrequencies) {
  auto dictionary = dictionary_of(50);
  dictionary.add("w7", -1000);
  const auto masking = [&](bool by_frequency) {
    TokenMasking({.freq_weighted_replacement = by_frequency}, dictionary, 1, nullptr);
  };
  EXPECT_NO_THROW(masking(false));
  expect_error([&] { masking(true); }, {"--freq-weighted-replacement", "`w7`", "-"});
}

TEST(TokenMasking, MasksTokensInARow) {
  const TokenMasking masking({.mask_prob = 0.05,
                              .leave_unmasked_prob = 0,
                              .random_token_prob = 0,
                              .mask_multiple_length = 4},
                             dictionary_of(50), 1, nullptr);
  const auto [source, target] = masked(masking, long_item(), 1, 0);
  size_t run = 0;
  for (const int64_t token : source) {
    if (token == 54) {
      ++run;
    } else {
      EXPECT_TRUE(run == 0 || run >= 4) << run;
      run = 0;
    }
  }
}

TEST(TokenMasking, MasksWholeWordsOfABpe) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += "one another mother \n";
  const auto bpe = testing::learn_bpe(text, 262);
  Dictionary dictionary;
  for (int64_t id = 0; id < bpe.size(); ++id) dictionary.add(std::to_string(id));
  dictionary.add("<mask>");
  const int64_t mask = dictionary.size() - 1;
  Ids item{Dictionary::kBos};
  std::string words = "one";
  for (int i = 0; i < 300; ++i) words += i % 2 == 0 ? " another" : " mother";
  for (const int32_t id : bpe.encode(words)) {
    item.push_back(dictionary.index(std::to_string(id)));
  }
  item.push_back(Dictionary::kEos);
  const auto begins = word_beginnings(dictionary, &bpe);
  ASSERT_EQ(std::count_if(item.begin(), item.end(), [&](int64_t t) { return begins[t] != 0; }),
            302);  // <s> with what has no space before it, 300 words, </s>
  const TokenMasking masking(
      {.leave_unmasked_prob = 0, .random_token_prob = 0, .mask_whole_words = true}, dictionary, 1,
      &bpe);
  const auto [source, target] = masked(masking, item, 1, 0);
  int hidden = 0;
  for (size_t i = 1; i < item.size(); ++i) {
    if (begins[item[i]] == 0) {
      EXPECT_EQ(source[i] == mask, source[i - 1] == mask) << i;
    } else if (source[i] == mask) {
      ++hidden;
    }
  }
  EXPECT_NEAR(hidden, 0.15 * 302, 2);
}

TEST(TokenMasking, OptionsThatMakeNoSenseAreRefused) {
  const auto dictionary = dictionary_of(5);
  const auto make = [&](const MaskingOptions& options) {
    return [&dictionary, options] { TokenMasking(options, dictionary, 1, nullptr); };
  };
  expect_error(make({.mask_prob = 1.5}), {"--mask-prob", "1.5"});
  expect_error(make({.leave_unmasked_prob = 0.6, .random_token_prob = 0.6}),
               {"--random-token-prob", "0.6"});
  expect_error(make({.mask_multiple_length = 1.5}), {"--mask-multiple-length", "1.5"});
  EXPECT_NO_THROW(make({.mask_multiple_length = 1.5, .mask_stdev = 1})());
}

class MaskedFolders : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string symbols;
    for (int i = 0; i < 40; ++i) symbols += "w" + std::to_string(i) + " 1\n";
    testing::write_text(folder_ / "dict.txt", symbols);
    for (const auto* split : {"train", "valid"}) {
      IndexedBuilder builder(folder_ / split, 44);
      for (int i = 0; i < 20; ++i) builder.add(Ids{4, 5, 6, 7 + i, 2});
      builder.finish();
    }
  }
  TemporaryFolder folder_;
};

TEST_F(MaskedFolders, EpochsShareBlocksButNotMasksAndValidationIsAlwaysTheSame) {
  MaskedLanguageModelDataOptions options;
  options.tokens_per_sample = 26;
  MaskedLanguageModelData data(folder_.path().string(), options);
  const auto first = data.train(1, "train");
  EXPECT_EQ(first, data.train(1, "train"));
  const auto second = data.train(2, "train");
  EXPECT_EQ(first->ordered_indices(1), second->ordered_indices(1));
  EXPECT_EQ(first->tokens(), 100 + first->size());
  EXPECT_NE(first->collate(Ids{0, 1, 2}).target, second->collate(Ids{0, 1, 2}).target);
  const auto valid = data.open("valid", false, 0);
  EXPECT_EQ(valid->collate(Ids{0, 1, 2}).target, first->collate(Ids{0, 1, 2}).target);
}

TEST_F(MaskedFolders, RowsAreAsWideAsTokensPerSampleAndAreFilledUpWhenAsked) {
  MaskedLanguageModelDataOptions options;
  options.tokens_per_sample = 8;
  options.break_mode = BreakMode::kEos;
  MaskedLanguageModelData data(folder_.path().string(), options);
  const auto batch = data.open("valid", false, 3)->collate(Ids{1});
  EXPECT_EQ(batch.rows, 3);
  EXPECT_EQ(batch.columns, 8);
  EXPECT_EQ(batch.target_columns, 8);
  EXPECT_EQ(batch.source.size(), 24u);
  EXPECT_EQ(batch.lengths, Ids{6});
  EXPECT_EQ(batch.tokens, 6);
}

TEST_F(MaskedFolders, WholeWordsOfBpeIdsNeedTheirBpe) {
  MaskedLanguageModelDataOptions options;
  options.masking.mask_whole_words = true;
  EXPECT_NO_THROW(MaskedLanguageModelData(folder_.path().string(), options));  // words it holds
  std::string symbols;
  for (int i = 0; i < 40; ++i) symbols += std::to_string(i) + " 1\n";
  testing::write_text(folder_ / "dict.txt", symbols);
  expect_error([&] { MaskedLanguageModelData(folder_.path().string(), options); },
               {"--mask-whole-words", "vocab.bpe"});
}

TEST_F(MaskedFolders, ADictionaryMayEndWithTheMaskButNotHoldItElsewhere) {
  testing::write_text(folder_ / "dict.txt", "a 1\nb 1\n<mask> 1\n");
  EXPECT_EQ(load_masked_dictionary(folder_.path()).size(), 7);
  testing::write_text(folder_ / "dict.txt", "a 1\n<mask> 1\nb 1\n");
  expect_error([&] { MaskedLanguageModelData(folder_.path().string(), {}); }, {"`<mask>`"});
}

}  // namespace
}  // namespace evomoe
