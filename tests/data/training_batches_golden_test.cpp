// The batches of whole training runs of the authors' trainer, from the same data folder.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <map>

#include "evomoe/data/binarize.h"
#include "evomoe/data/epoch_iterator.h"
#include "evomoe/data/language_model_data.h"
#include "evomoe/data/language_pair_data.h"
#include "evomoe/data/masked_language_model_data.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using Ids = std::vector<int64_t>;

/// The int32 tensors of a safetensors file, by name.
std::map<std::string, Ids> read_tensors(const std::filesystem::path& path) {
  const auto bytes = testing::read_text(path);
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  std::map<std::string, Ids> tensors;
  const auto json = nlohmann::json::parse(bytes.substr(8, header));
  for (const auto& [name, entry] : json.items()) {
    if (name == "__metadata__") continue;
    const int64_t begin = entry["data_offsets"][0];
    const int64_t end = entry["data_offsets"][1];
    std::vector<int32_t> values((end - begin) / 4);
    std::memcpy(values.data(), bytes.data() + 8 + header + begin, end - begin);
    tensors[name] = Ids(values.begin(), values.end());
  }
  return tensors;
}

void expect_batch(const Batch& batch, const std::map<std::string, Ids>& golden,
                  const std::string& prefix) {
  EXPECT_EQ(batch.source, golden.at(prefix + ".src_tokens")) << prefix;
  EXPECT_EQ(batch.target, golden.at(prefix + ".target")) << prefix;
  if (golden.contains(prefix + ".prev_output_tokens")) {
    EXPECT_EQ(batch.previous_output, golden.at(prefix + ".prev_output_tokens")) << prefix;
  } else {
    EXPECT_TRUE(batch.previous_output.empty()) << prefix;
  }
  EXPECT_EQ(batch.ids, golden.at(prefix + ".id")) << prefix;
  EXPECT_EQ(batch.lengths, golden.at(prefix + ".src_lengths")) << prefix;
}

/// Compares all batches of a run with those of `data`, delivered by an EpochIterator.
void expect_run(TaskData& data, EpochIteratorOptions options, const std::filesystem::path& run,
                const std::string& excepted = "",
                const std::function<void(const Batch&)>& expect_excepted = {}) {
  const auto flags = testing::read_json(run / "flags.json");
  options.seed = flags["seed"];
  options.num_workers = 2;
  EpochIterator train([&](int64_t epoch) { return data.train(epoch, "train"); }, options);
  const auto golden = read_tensors(run / "batches.safetensors");
  const size_t parts = golden.contains("u0001.m0.prev_output_tokens") ? 5 : 4;
  size_t compared = 0;
  int64_t update = 0;
  for (int64_t epoch = 1; update < flags["optim"]["max_update"]; ++epoch) {
    train.start_epoch(epoch);
    while (update < flags["optim"]["max_update"]) {
      const auto micro_batches = train.next_update();
      if (!micro_batches) break;
      ++update;
      for (size_t m = 0; m < micro_batches->size(); ++m) {
        const auto name = fmt::format("u{:04}.m{}", update, m);
        if (name == excepted) {
          expect_excepted((*micro_batches)[m]);
        } else {
          expect_batch((*micro_batches)[m], golden, name);
        }
        ++compared;
      }
    }
  }
  EXPECT_EQ(compared * parts, golden.size());

  options.shuffle = false;
  options.update_freq = {1};
  EpochIterator valid(data.open("valid", false, 0), options);
  const auto golden_valid = read_tensors(run / "valid_batches.safetensors");
  valid.start_epoch(1);
  compared = 0;
  while (const auto batch = valid.next_update()) {
    expect_batch(batch->front(), golden_valid, fmt::format("b{:02}", compared++));
  }
  EXPECT_EQ(compared * parts, golden_valid.size());
}

class RecordedRuns : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::golden_training_dir();
    if (!std::filesystem::exists(folder_))
      GTEST_SKIP() << "no recorded training runs at " << folder_;
    if (!std::filesystem::exists(testing::golden_text_dir()))
      GTEST_SKIP() << "their text is not at " << testing::golden_text_dir()
                   << " (EVOMOE_GOLDEN_TEXT)";
  }
  std::filesystem::path folder_;
};

class TrainingBatchesGolden : public RecordedRuns,
                              public ::testing::WithParamInterface<std::string> {};

TEST_P(TrainingBatchesGolden, AllTrainingAndValidationBatchesAreThoseOfTheReference) {
  const auto flags = testing::read_json(folder_ / GetParam() / "flags.json");
  LanguageModelDatasetOptions blocks;
  blocks.tokens_per_sample = flags["tokens_per_sample"];
  LanguageModelData data((testing::golden_text_dir() / "wikitext-slice/bin").string(), blocks);
  EXPECT_EQ(data.source_dictionary().size(), 504);

  EpochIteratorOptions options;
  options.limits.max_sentences = flags["batch_size"];
  options.update_freq = {flags["update_freq"]};
  expect_run(data, options, folder_ / GetParam());
}

INSTANTIATE_TEST_SUITE_P(Runs, TrainingBatchesGolden,
                         ::testing::Values("gpt_dense", "gpt_top2", "gpt_dts"),
                         [](const auto& info) { return info.param; });

TEST_F(RecordedRuns, AllBatchesOfMaskedModelsAreThoseOfTheReferenceButForItsStaleCache) {
  MaskedLanguageModelDataOptions blocks;
  blocks.tokens_per_sample = 32;
  blocks.seed = 1234;
  MaskedLanguageModelData data((testing::golden_text_dir() / "wikitext-slice/bin").string(),
                               blocks);
  EXPECT_EQ(data.source_dictionary().size(), 505);
  EXPECT_EQ(data.source_dictionary().symbol(504), "<mask>");
  EXPECT_EQ(data.train(1, "train")->size(), 86);
  EpochIteratorOptions options;
  options.limits.max_sentences = 4;
  // A cache of the reference that ignores the epoch gave three items of the first update of epoch
  // 2 the masks of epoch 1.
  const auto run = folder_ / "roberta_switch";
  const std::string stale = "u0023.m0";
  expect_run(data, options, run, stale, [&](const Batch& second) {
    const auto golden = read_tensors(run / "batches.safetensors");
    ASSERT_EQ(second.ids, golden.at(stale + ".id"));
    const auto first = data.train(1, "train")->collate(second.ids);
    for (int64_t row = 0; row < second.rows; ++row) {
      const auto of_row = [&](const Ids& all) {
        return Ids(all.begin() + row * 32, all.begin() + (row + 1) * 32);
      };
      const int64_t item = second.ids[row];
      const Batch& expected = item == 63 || item == 55 || item == 58 ? first : second;
      EXPECT_EQ(of_row(expected.source), of_row(golden.at(stale + ".src_tokens"))) << item;
      EXPECT_EQ(of_row(expected.target), of_row(golden.at(stale + ".target"))) << item;
    }
    EXPECT_NE(first.source, second.source);
    EXPECT_EQ(second.lengths, golden.at(stale + ".src_lengths"));
  });
}

TEST_F(RecordedRuns, AllBatchesOfTranslationAreThoseOfTheReference) {
  LanguagePairData data((testing::golden_text_dir() / "multi30k-slice/bin").string(), {});
  EXPECT_EQ(data.source_lang(), "de");
  EXPECT_EQ(data.target_lang(), "en");
  EXPECT_EQ(data.train(1, "train")->size(), 400);
  EpochIteratorOptions options;
  options.limits.max_tokens = 400;
  options.max_positions = 1024;
  expect_run(data, options, folder_ / "mt_dts");
}

TEST(PreprocessGolden, MakesTheFilesOfTheReferenceByteForByteWithAnyNumberOfWorkers) {
  const auto folder = testing::golden_text_dir() / "wikitext-slice";
  if (!std::filesystem::exists(folder))
    GTEST_SKIP() << folder << " is not here (EVOMOE_GOLDEN_TEXT)";
  for (const int workers : {1, 3}) {
    const testing::TemporaryFolder made;
    PreprocessOptions options;
    options.trainpref = (folder / "train.txt").string();
    options.validpref = (folder / "valid.txt").string();
    options.destdir = made / "bin";
    options.nwordssrc = 500;
    options.workers = workers;
    preprocess(options);
    for (const char* name : {"dict.txt", "train.bin", "train.idx", "valid.bin", "valid.idx"}) {
      EXPECT_EQ(testing::read_text(made / "bin" / name), testing::read_text(folder / "bin" / name))
          << name;
    }
  }
}

TEST(PreprocessGolden, MakesTheFilesOfAPairByteForByteWithAnyNumberOfWorkers) {
  const auto folder = testing::golden_text_dir() / "multi30k-slice";
  if (!std::filesystem::exists(folder))
    GTEST_SKIP() << folder << " is not here (EVOMOE_GOLDEN_TEXT)";
  for (const int workers : {1, 3}) {
    const testing::TemporaryFolder made;
    PreprocessOptions options;
    options.source_lang = "de";
    options.target_lang = "en";
    options.joined_dictionary = true;
    options.trainpref = (folder / "train").string();
    options.validpref = (folder / "valid").string();
    options.destdir = made / "bin";
    options.nwordssrc = options.nwordstgt = 500;
    options.workers = workers;
    preprocess(options);
    int compared = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder / "bin")) {
      const auto name = entry.path().filename();
      if (name == "preprocess.log") continue;
      EXPECT_EQ(testing::read_text(made / "bin" / name.string()), testing::read_text(entry.path()))
          << name;
      ++compared;
    }
    EXPECT_EQ(compared, 10);
  }
}

}  // namespace
}  // namespace evomoe
