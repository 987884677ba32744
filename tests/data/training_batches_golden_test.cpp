// The batches of whole training runs of the authors' trainer, from the same data folder.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "evomoe/data/binarize.h"
#include "evomoe/data/epoch_iterator.h"
#include "evomoe/data/language_model_data.h"
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
  EXPECT_EQ(batch.ids, golden.at(prefix + ".id")) << prefix;
  EXPECT_EQ(batch.lengths, golden.at(prefix + ".src_lengths")) << prefix;
}

class TrainingBatchesGolden : public ::testing::TestWithParam<std::string> {
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

TEST_P(TrainingBatchesGolden, AllTrainingAndValidationBatchesAreThoseOfTheReference) {
  const auto flags = testing::read_json(folder_ / GetParam() / "flags.json");
  LanguageModelDatasetOptions blocks;
  blocks.tokens_per_sample = flags["tokens_per_sample"];
  LanguageModelData data((testing::golden_text_dir() / "wikitext-slice/bin").string(), blocks);
  EXPECT_EQ(data.source_dictionary().size(), 504);

  EpochIteratorOptions options;
  options.limits.max_sentences = flags["batch_size"];
  options.seed = flags["seed"];
  options.update_freq = {flags["update_freq"]};
  options.num_workers = 2;
  EpochIterator train([&](int64_t epoch) { return data.train(epoch, "train"); }, options);
  const auto golden = read_tensors(folder_ / GetParam() / "batches.safetensors");
  size_t compared = 0;
  int64_t update = 0;
  for (int64_t epoch = 1; update < flags["optim"]["max_update"]; ++epoch) {
    train.start_epoch(epoch);
    while (update < flags["optim"]["max_update"]) {
      const auto micro_batches = train.next_update();
      if (!micro_batches) break;
      ++update;
      for (size_t m = 0; m < micro_batches->size(); ++m) {
        expect_batch((*micro_batches)[m], golden, fmt::format("u{:04}.m{}", update, m));
        ++compared;
      }
    }
  }
  EXPECT_EQ(compared * 4, golden.size());

  options.shuffle = false;
  options.update_freq = {1};
  EpochIterator valid(data.open("valid", false, 0), options);
  const auto golden_valid = read_tensors(folder_ / GetParam() / "valid_batches.safetensors");
  valid.start_epoch(1);
  compared = 0;
  while (const auto batch = valid.next_update()) {
    expect_batch(batch->front(), golden_valid, fmt::format("b{:02}", compared++));
  }
  EXPECT_EQ(compared * 4, golden_valid.size());
}

INSTANTIATE_TEST_SUITE_P(Runs, TrainingBatchesGolden,
                         ::testing::Values("gpt_dense", "gpt_top2", "gpt_dts"),
                         [](const auto& info) { return info.param; });

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

}  // namespace
}  // namespace evomoe
