#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "evomoe/data/data_folders.h"
#include "evomoe/data/language_model_dataset.h"
#include "evomoe/data/task_data.h"

namespace evomoe {

/// Reads dict.txt of the first data path.
Dictionary load_data_dictionary(const std::string& paths);

/// Data for language modelling. Files are memory maps; raw text is held in memory.
class LanguageModelData : public TaskData {
 public:
  /// Reads the dictionary. An Error when a folder is missing.
  LanguageModelData(const std::string& paths, LanguageModelDatasetOptions options);

  const Dictionary& source_dictionary() const override { return dictionary_; }
  int64_t shards() const { return static_cast<int64_t>(paths_.size()); }
  std::shared_ptr<const Dataset> train(int64_t epoch, const std::string& split) override;
  std::shared_ptr<const Dataset> open(const std::string& split, bool combine,
                                      int64_t pad_to_batch_size) override {
    return open_blocks(split, combine, pad_to_batch_size);
  }
  std::vector<std::string> unused_valid_splits(const std::vector<std::string>& used) const override;

  /// As open(), for one who reads the blocks themselves.
  std::shared_ptr<const LanguageModelDataset> open_blocks(const std::string& split, bool combine,
                                                          int64_t pad_to_batch_size = 0);

 private:
  std::vector<std::filesystem::path> paths_;
  LanguageModelDatasetOptions options_;
  Dictionary dictionary_;
  TokenFiles files_;
  /// By prefix; each holds the list of its blocks.
  std::map<std::filesystem::path, std::shared_ptr<const LanguageModelDataset>> train_;
};

}  // namespace evomoe
