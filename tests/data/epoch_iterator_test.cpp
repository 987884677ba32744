#include "evomoe/data/epoch_iterator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "evomoe/data/language_model_dataset.h"
#include "evomoe/data/language_pair_dataset.h"
#include "evomoe/data/masked_language_model_dataset.h"
#include "evomoe/data/sentence_prediction_dataset.h"
#include "tests/testing/expect_error.h"

namespace evomoe {
namespace {

using Ids = std::vector<int64_t>;

std::shared_ptr<const LanguageModelDataset> dataset(int64_t items = 53, int64_t first_token = 4) {
  std::vector<Ids> corpus;
  for (int64_t i = 0; i < items; ++i) corpus.emplace_back(1 + i * 7 % 11, first_token + i % 5);
  return std::make_shared<LanguageModelDataset>(
      std::make_shared<MemoryStream>(corpus, "corpus"),
      LanguageModelDatasetOptions{.break_mode = BreakMode::kEos});
}

EpochIteratorOptions options_of_four() {
  EpochIteratorOptions options;
  options.limits.max_sentences = 4;
  return options;
}

/// The items of all micro-batches of an epoch, in order.
std::vector<Ids> run_epoch(EpochIterator& iterator, int64_t epoch, int64_t offset = 0) {
  std::vector<Ids> batches;
  iterator.start_epoch(epoch, offset);
  while (const auto update = iterator.next_update()) {
    for (const auto& batch : *update) batches.push_back(batch.ids);
  }
  return batches;
}

TEST(EpochIterator, ServesEachItemOnceInAnOrderThatChangesWithTheEpoch) {
  EpochIterator iterator(dataset(), options_of_four());
  const auto one = run_epoch(iterator, 1);
  auto two = run_epoch(iterator, 2);
  EXPECT_EQ(one.size(), 14u);
  EXPECT_NE(one, two);
  EXPECT_EQ(run_epoch(iterator, 1), one);
  Ids items;
  for (const auto& batch : two) items.insert(items.end(), batch.begin(), batch.end());
  std::sort(items.begin(), items.end());
  Ids all(53);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(items, all);
}

TEST(EpochIterator, ThreadsDeliverTheSameBatchesInOrder) {
  auto options = options_of_four();
  EpochIterator alone(dataset(), options);
  const auto expected = run_epoch(alone, 3);
  options.num_workers = 4;
  options.prefetch_batches = 2;
  EpochIterator threaded(dataset(), options);
  EXPECT_EQ(run_epoch(threaded, 3), expected);
  threaded.start_epoch(1);  // leave in the middle of an epoch
  threaded.next_update();
  EXPECT_EQ(run_epoch(threaded, 3), expected);
}

TEST(EpochIterator, ResumesInTheMiddleOfAnEpoch) {
  for (const int workers : {0, 2}) {
    auto options = options_of_four();
    options.update_freq = {3};
    options.num_workers = workers;
    EpochIterator iterator(dataset(), options);
    auto whole = run_epoch(iterator, 2);
    whole.erase(whole.begin(), whole.begin() + 6);
    EpochIterator resumed(dataset(), options);
    EXPECT_EQ(run_epoch(resumed, 2, 6), whole);
    EXPECT_EQ(resumed.offset(), 14);
    EXPECT_TRUE(resumed.finished());
    EXPECT_TRUE(run_epoch(resumed, 2, 14).empty());
    expect_error([&] { resumed.start_epoch(2, 15); },
                 {"micro-batch 15", "it has 14", "--reset-dataloader"});
  }
}

TEST(EpochIterator, GoesOnBehindAnyNumberOfBatchesWithAnyNumberOfRanks) {
  EpochIterator single(dataset(), options_of_four());
  const auto whole = run_epoch(single, 2);
  for (const int64_t world : {1, 2, 3, 4}) {
    for (const int64_t done : {1, 5, 12, 14}) {
      SCOPED_TRACE(std::to_string(world) + " ranks behind " + std::to_string(done));
      std::vector<Ids> found(whole.size());
      for (int64_t rank = 0; rank < world; ++rank) {
        auto options = options_of_four();
        options.rank = rank;
        options.world_size = world;
        EpochIterator iterator(dataset(), options);
        int64_t at = done + rank;
        for (const auto& ids : run_epoch(iterator, 2, done)) {
          if (at < static_cast<int64_t>(whole.size())) {
            found[at] = ids;
          } else {
            EXPECT_TRUE(ids.empty());
          }
          at += world;
        }
        EXPECT_EQ(iterator.batches_done(), 14);
        EXPECT_TRUE(iterator.finished());
      }
      for (size_t i = done; i < whole.size(); ++i) EXPECT_EQ(found[i], whole[i]) << i;
    }
  }
}

TEST(EpochIterator, GroupsMicroBatchesAndNeverCrossesAnEpoch) {
  auto options = options_of_four();
  options.update_freq = {4, 3};
  EpochIterator iterator(dataset(), options);
  iterator.start_epoch(1);
  EXPECT_EQ(iterator.updates_per_epoch(), 4);
  std::vector<size_t> sizes;
  while (const auto update = iterator.next_update()) sizes.push_back(update->size());
  EXPECT_EQ(sizes, (std::vector<size_t>{4, 4, 4, 2}));
  iterator.start_epoch(5);  // the last number holds on
  EXPECT_EQ(iterator.next_update()->size(), 3u);
}

TEST(EpochIterator, RanksShareTheBatchesOfOneRankAndComeShortWithAnEmptyOne) {
  EpochIterator single(dataset(), options_of_four());
  const auto expected = run_epoch(single, 1);
  std::vector<std::vector<Ids>> ranks;
  for (int64_t rank = 0; rank < 4; ++rank) {
    auto options = options_of_four();
    options.rank = rank;
    options.world_size = 4;
    EpochIterator iterator(dataset(), options);
    ranks.push_back(run_epoch(iterator, 1));
    EXPECT_EQ(ranks.back().size(), 4u);
  }
  for (size_t i = 0; i < 16; ++i) {
    EXPECT_EQ(ranks[i % 4][i / 4], i < expected.size() ? expected[i] : Ids{}) << i;
  }
}

TEST(EpochIterator, RowsHaveTheSamePlaceInTheUpdateHoweverItIsSplit) {
  // 4 micro-batches an update: by one rank, by two, by four.
  std::vector<std::vector<int64_t>> first_rows;
  for (const int64_t world : {1, 2, 4}) {
    std::vector<int64_t> place_of_item(53, -1);
    for (int64_t rank = 0; rank < world; ++rank) {
      auto options = options_of_four();
      options.rank = rank;
      options.world_size = world;
      options.update_freq = {4 / world};
      EpochIterator iterator(dataset(), options);
      iterator.start_epoch(1);
      while (const auto update = iterator.next_update()) {
        for (const auto& batch : *update) {
          for (size_t row = 0; row < batch.ids.size(); ++row) {
            place_of_item[batch.ids[row]] = batch.first_sequence + static_cast<int64_t>(row);
          }
        }
      }
    }
    first_rows.push_back(place_of_item);
  }
  EXPECT_EQ(first_rows[0], first_rows[1]);
  EXPECT_EQ(first_rows[0], first_rows[2]);
  EXPECT_EQ(*std::max_element(first_rows[0].begin(), first_rows[0].end()), 15);
}

TEST(EpochIterator, CurriculumAndValidationKeepTheOrderOfSizes) {
  auto options = options_of_four();
  options.curriculum = 2;
  EpochIterator iterator(dataset(), options);
  const auto sorted = run_epoch(iterator, 1);
  EXPECT_EQ(run_epoch(iterator, 2), sorted);
  EXPECT_NE(run_epoch(iterator, 3), sorted);
  options.shuffle = false;
  EpochIterator validation(dataset(), options);
  EXPECT_EQ(run_epoch(validation, 9), sorted);
}

TEST(EpochIterator, FollowsADatasetThatChangesWithTheEpoch) {
  const auto even = dataset(8);
  const auto odd = dataset(20);
  EpochIterator iterator([&](int64_t epoch) { return epoch % 2 == 0 ? even : odd; },
                         options_of_four());
  EXPECT_EQ(run_epoch(iterator, 1).size(), 5u);
  EXPECT_EQ(run_epoch(iterator, 2).size(), 2u);
  EXPECT_EQ(run_epoch(iterator, 3).size(), 5u);
}

TEST(EpochIterator, ABatchMayBeLargerThanTheData) {
  auto options = options_of_four();
  options.limits.max_sentences = 1000;
  EpochIterator iterator(dataset(3), options);
  EXPECT_EQ(run_epoch(iterator, 1).size(), 1u);
}

TEST(EpochIterator, LeavesOutItemsThatAreTooLongOrRefusesThem) {
  auto options = options_of_four();
  options.max_positions = 10;
  EpochIterator training(dataset(11), options);
  size_t items = 0;
  for (const auto& batch : run_epoch(training, 1)) items += batch.size();
  EXPECT_EQ(items, 10u);
  options.skip_invalid = false;
  EpochIterator validation(dataset(11), options);
  expect_error([&] { validation.start_epoch(1); },
               {"corpus", "11 tokens", "10", "--skip-invalid-size-inputs"});
  options.skip_invalid = true;
  options.max_positions = 1;
  EpochIterator none(dataset(1), options);
  EXPECT_EQ(none.batches_per_epoch(), 1);
}

using Corpus = std::vector<Ids>;

std::shared_ptr<const MemoryStream> stream(const Corpus& corpus, const std::string& name) {
  return std::make_shared<MemoryStream>(corpus, name);
}

/// Some items, of which that of the number kLong alone is longer than kShort tokens, in the
/// dataset of each task.
constexpr int64_t kShort = 8, kLong = 3;

struct TaskDataset {
  std::string task;
  std::shared_ptr<const Dataset> dataset;
};

std::vector<TaskDataset> datasets_of_tasks() {
  Corpus corpus, targets;
  for (int64_t i = 0; i < 9; ++i) {
    corpus.emplace_back(i == kLong ? kShort + 5 : 1 + i % 5, 4 + i % 5);
    targets.emplace_back(1 + i % 4, 5);
    corpus.back().back() = targets.back().back() = Dictionary::kEos;
  }
  const LanguageModelDatasetOptions blocks{.tokens_per_sample = 6, .break_mode = BreakMode::kEos};
  const LanguagePairDatasetOptions pairs{.max_source_positions = 1024,
                                         .max_target_positions = 1024};
  const auto pair = [&](const Corpus& source, const Corpus& target, const std::string& name) {
    return std::make_shared<LanguagePairDataset>(
        std::vector<PairFiles>{{stream(source, name), stream(target, name)}}, pairs);
  };
  Dictionary dictionary;
  for (const auto* symbol : {"a", "b", "c", "d", "e", "<mask>"}) dictionary.add(symbol);
  const auto masking =
      std::make_shared<TokenMasking>(MaskingOptions{}, dictionary, /*seed=*/1, nullptr);
  return {
      {"language_modeling", std::make_shared<LanguageModelDataset>(stream(corpus, "lm"), blocks)},
      {"masked_lm",
       std::make_shared<MaskedLanguageModelDataset>(
           std::make_shared<TokenBlocks>(stream(corpus, "mlm"), BreakMode::kEos, 6), masking,
           /*epoch=*/1, /*tokens_per_sample=*/7)},
      {"translation, source", pair(corpus, targets, "source")},
      {"translation, target", pair(targets, corpus, "target")},
      {"sentence_prediction", std::make_shared<SentencePredictionDataset>(
                                  stream(corpus, "sentences"), nullptr,
                                  std::make_shared<SentenceLabels>(
                                      SentenceLabels{"labels", std::vector<int64_t>(9, 0), {}}),
                                  /*epoch=*/1, SentencePredictionDatasetOptions{})}};
}

TEST(EpochIterator, ItemsLongerThanMaxTokensAreLeftOutInEveryTask) {
  for (const auto& [task, dataset] : datasets_of_tasks()) {
    SCOPED_TRACE(task);
    EpochIteratorOptions options;
    options.limits = {.max_tokens = kShort, .multiple = 1};
    EpochIterator training(dataset, options);
    Ids items;
    const auto batches = run_epoch(training, 1);
    for (const auto& batch : batches) items.insert(items.end(), batch.begin(), batch.end());
    std::sort(items.begin(), items.end());
    EXPECT_EQ(items, (Ids{0, 1, 2, 4, 5, 6, 7, 8}));
    // The order, and so a resumed run's, does not depend on when the iterator was made.
    EpochIterator resumed(dataset, options);
    const auto rest = run_epoch(resumed, 1, /*offset=*/2);
    EXPECT_EQ(rest, std::vector<Ids>(batches.begin() + 2, batches.end()));

    options.skip_invalid = false;
    options.tokens_option = "--max-tokens-valid";
    EpochIterator validation(dataset, options);
    expect_error([&] { validation.start_epoch(1); },
                 {dataset->name(), "1 of 9 items is too long: 1 longer than --max-tokens-valid 8",
                  "item 3", "raise --max-tokens-valid", "--skip-invalid-size-inputs-valid-test"});
    // It is not so with a batch that holds it.
    options.limits.max_tokens = kShort + 6;
    EpochIterator wide(dataset, options);
    EXPECT_GT(run_epoch(wide, 1).size(), 0u);
  }
}

TEST(EpochIterator, WhereNoItemIsShortEnoughTheErrorNamesEachLimit) {
  EpochIteratorOptions options;
  const auto data = std::make_shared<LanguageModelDataset>(
      stream({Ids(5, 4), Ids(9, 4)}, "corpus"),
      LanguageModelDatasetOptions{.break_mode = BreakMode::kEos});
  options.limits.max_tokens = 4;
  options.max_positions = 6;
  options.positions_option = "--max-positions";
  EpochIterator none(data, options);
  expect_error([&] { none.start_epoch(1); },
               {"corpus: 2 of 2 items are too long", "1 longer than the model's 6 positions",
                "1 longer than --max-tokens 4", "raise --max-positions and --max-tokens"});
}

TEST(EpochIterator, RefusesImpossibleOptions) {
  EpochIteratorOptions options;
  EpochIterator unlimited(dataset(), options);
  expect_error([&] { unlimited.start_epoch(1); }, {"--max-tokens", "--batch-size"});
  options.limits.max_tokens = 5;
  options.update_freq = {0};
  expect_error([&] { EpochIterator(dataset(), options); }, {"--update-freq"});
  options.update_freq = {1};
  options.rank = 2;
  options.world_size = 2;
  expect_error([&] { EpochIterator(dataset(), options); }, {"rank 2"});
}

TEST(EpochIterator, AnErrorInAThreadReachesTheCaller) {
  class Unreadable : public LanguageModelDataset {
   public:
    using LanguageModelDataset::LanguageModelDataset;
    Batch collate(std::span<const int64_t> items) const override {
      for (const auto item : items) EVOMOE_CHECK(item != 17, "item {} cannot be read", item);
      return LanguageModelDataset::collate(items);
    }
  };
  const auto bad = std::make_shared<Unreadable>(
      std::make_shared<MemoryStream>(std::vector<Ids>(40, Ids{4, 2}), "corpus"),
      LanguageModelDatasetOptions{.break_mode = BreakMode::kEos});
  auto options = options_of_four();
  options.num_workers = 3;
  EpochIterator iterator(bad, options);
  expect_error([&] { run_epoch(iterator, 1); }, {"item 17 cannot be read"});
}

}  // namespace
}  // namespace evomoe
