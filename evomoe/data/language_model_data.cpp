#include "evomoe/data/language_model_data.h"

namespace evomoe {

Dictionary load_data_dictionary(const std::string& paths) {
  return load_dictionary_of(split_data_paths(paths).front(), "dict.txt");
}

LanguageModelData::LanguageModelData(const std::string& paths, LanguageModelDatasetOptions options)
    : paths_(open_data_paths(paths)), options_(options), dictionary_(load_data_dictionary(paths)) {}

std::shared_ptr<const Dataset> LanguageModelData::train(int64_t epoch, const std::string& split) {
  const auto& folder = paths_[(epoch - 1) % shards()];
  auto& dataset = train_[folder / split];
  if (!dataset) {
    auto stream = files_.open_split(folder, split, /*combine=*/true, dictionary_);
    if (!stream) fail_missing_split(folder, split, indexed_files(folder), kOtherTrainSplit);
    dataset = std::make_shared<LanguageModelDataset>(std::move(stream), options_);
  }
  return dataset;
}

std::shared_ptr<const LanguageModelDataset> LanguageModelData::open_blocks(
    const std::string& split, bool combine, int64_t pad_to_batch_size) {
  auto options = options_;
  options.pad_to_batch_size = pad_to_batch_size;
  const auto& folder = paths_.front();
  auto stream = files_.open_split(folder, split, combine, dictionary_);
  if (!stream) fail_missing_split(folder, split, indexed_files(folder), kOtherSplit);
  return std::make_shared<LanguageModelDataset>(std::move(stream), options);
}

std::vector<std::string> LanguageModelData::unused_valid_splits(
    const std::vector<std::string>& used) const {
  return unused_among(indexed_files(paths_.front()), used);
}

}  // namespace evomoe
