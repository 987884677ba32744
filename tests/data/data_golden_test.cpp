// Golden vectors of the authors' data code (tests/golden/data.json).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "evomoe/data/batching.h"
#include "evomoe/data/indexed_dataset.h"
#include "evomoe/data/language_model_dataset.h"
#include "evomoe/data/numpy_random.h"
#include "evomoe/data/token_blocks.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using Ids = std::vector<int64_t>;
using testing::TemporaryFolder;

const nlohmann::json& golden() {
  static const auto json = testing::read_json(testing::golden_dir() / "data.json");
  return json;
}

std::string to_hex(const std::string& bytes) {
  std::string hex;
  for (const char byte : bytes) hex += fmt::format("{:02x}", static_cast<uint8_t>(byte));
  return hex;
}

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

std::vector<Ids> items_of(const TokenStream& stream) {
  std::vector<Ids> items;
  for (int64_t i = 0; i < stream.items(); ++i) items.push_back(stream.item(i));
  return items;
}

TEST(NumpyRandomGolden, DrawsTheNumbersOfNumpy) {
  for (const auto& [seed, expected] : golden()["numpy_mt19937"].items()) {
    const int64_t number = std::stoll(seed);
    EXPECT_EQ(NumpyRandom(number).permutation(13), expected["permutation13"].get<Ids>());
    Ids list(11);
    for (int64_t i = 0; i < 11; ++i) list[i] = i;
    NumpyRandom(number).shuffle(list);
    EXPECT_EQ(list, expected["shuffle11_list"].get<Ids>());
    NumpyRandom random(number);
    for (const double value : expected["rand5"]) EXPECT_EQ(random.rand(), value);
    EXPECT_EQ(NumpyRandom(number).choice_without_replacement(20, 6),
              expected["choice20_6_noreplace"].get<Ids>());
    std::vector<double> weights(12, 1.0);
    for (int i = 0; i < 4; ++i) weights[i] = 0;
    NumpyRandom weighted(number);
    Ids chosen;
    for (int i = 0; i < 6; ++i) chosen.push_back(weighted.choose(cumulative_weights(weights)));
    EXPECT_EQ(chosen, expected["choice12_6_weighted_first4zero"].get<Ids>());
  }
}

TEST(BatchingGolden, OrdersLanguageModelItemsAsTheReference) {
  const auto& expected = golden()["lm_ordered_indices"];
  const auto sizes = expected["sizes"].get<Ids>();
  for (const auto& [seed, order] : expected["by_seed"].items()) {
    EXPECT_EQ(ordered_by_size(
                  static_cast<int64_t>(sizes.size()), [&](int64_t i) { return sizes[i]; },
                  std::stoll(seed)),
              order.get<Ids>());
  }
}

TEST(BatchingGolden, CutsBatchesAsTheReference) {
  for (const auto& test : golden()["batch_by_size"]) {
    const auto sizes = test["num_tokens"].get<Ids>();
    Ids items(sizes.size());
    for (size_t i = 0; i < items.size(); ++i) items[i] = static_cast<int64_t>(i);
    const auto batches = batch_by_size(items, [&](int64_t i) { return sizes[i]; },
                                       {.max_tokens = test["max_tokens"],
                                        .max_sentences = test["max_sentences"],
                                        .multiple = test["mult"]});
    std::vector<Ids> found;
    for (int64_t i = 0; i < batches.size(); ++i)
      found.emplace_back(batches[i].begin(), batches[i].end());
    EXPECT_EQ(found, test["batches"].get<std::vector<Ids>>())
        << test["max_tokens"] << " " << test["mult"];
  }
}

TEST(TokenBlocksGolden, CutsBlocksAndShiftsSourcesAsTheReference) {
  const auto& expected = golden()["token_blocks"];
  const auto stream =
      std::make_shared<MemoryStream>(expected["documents"].get<std::vector<Ids>>(), "golden");
  for (const auto& test : expected["cases"]) {
    LanguageModelDatasetOptions options;
    options.tokens_per_sample = test["block_size"];
    options.break_mode = parse_break_mode(test["mode"]);
    const LanguageModelDataset dataset(stream, options);
    ASSERT_EQ(dataset.size(), static_cast<int64_t>(test["sizes"].size())) << test["mode"];
    for (int64_t i = 0; i < dataset.size(); ++i) {
      EXPECT_EQ(dataset.item_size(i), test["sizes"][i]);
      const auto item = dataset.item(i);
      EXPECT_EQ(item.source, test["items"][i]["source"].get<Ids>()) << test["mode"] << " " << i;
      EXPECT_EQ(item.target, test["items"][i]["target"].get<Ids>()) << test["mode"] << " " << i;
    }
  }
}

TEST(IndexedDatasetGolden, WritesAndReadsTheMmapFilesOfTheReferenceByteForByte) {
  for (const auto& test : golden()["mmap"]) {
    const TemporaryFolder folder;
    const auto items = test["items"].get<std::vector<Ids>>();
    IndexedBuilder builder(folder / "train",
                           test["vocab_size"].is_null() ? 0 : test["vocab_size"].get<int64_t>());
    for (const auto& item : items) builder.add(item);
    builder.finish();
    EXPECT_EQ(to_hex(testing::read_text(folder / "train.idx")), test["idx_hex"]);
    EXPECT_EQ(to_hex(testing::read_text(folder / "train.bin")), test["bin_hex"]);
    EXPECT_EQ(items_of(*open_indexed(folder / "train")), items);
  }
}

TEST(IndexedDatasetGolden, ReadsTheLegacyFilesOfTheReference) {
  const auto& test = golden()["legacy_indexed"];
  const TemporaryFolder folder;
  testing::write_text(folder / "train.idx", from_hex(test["idx_hex"]));
  testing::write_text(folder / "train.bin", from_hex(test["bin_hex"]));
  EXPECT_EQ(items_of(*open_indexed(folder / "train")), test["items"].get<std::vector<Ids>>());
}

}  // namespace
}  // namespace evomoe
