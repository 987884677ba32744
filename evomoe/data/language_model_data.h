#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "evomoe/data/dictionary.h"
#include "evomoe/data/language_model_dataset.h"

namespace evomoe {

/// The parts of `a:b:c`; an empty part is a UsageError.
std::vector<std::filesystem::path> split_data_paths(const std::string& paths);

/// Reads dict.txt of the first data path.
Dictionary load_data_dictionary(const std::string& paths);

/// A data-bin folder (or several, `a:b:c`) for language modelling. Each file is opened once and
/// stays open (a memory map; raw text is held in memory). All its tokens are read then: one that
/// the dictionary does not have is an Error at once, not in the middle of the run.
class LanguageModelData {
 public:
  /// Reads the dictionary. An Error when a folder is missing.
  LanguageModelData(const std::string& paths, LanguageModelDatasetOptions options);

  const Dictionary& dictionary() const { return dictionary_; }
  int64_t shards() const { return static_cast<int64_t>(paths_.size()); }

  /// The training split of an epoch (from 1): path (epoch - 1) % n, with `train1`, `train2`, ...
  /// appended when they are there. Epochs of one path get the same object; safe as
  /// EpochIterator::DatasetOfEpoch.
  std::shared_ptr<const LanguageModelDataset> train(int64_t epoch,
                                                    const std::string& split = "train");

  /// Another split, of the first path. `combine`: with split1, split2, ... appended. A missing one
  /// is an Error that lists what is there. `pad_to_batch_size` replaces the option of the
  /// constructor (validation has its own batch size).
  std::shared_ptr<const LanguageModelDataset> open(const std::string& split, bool combine,
                                                   int64_t pad_to_batch_size = 0);

  /// `valid1`, `valid2`, ... of the first path that are not among `used`: fairseq refuses to ignore
  /// them silently.
  std::vector<std::string> unused_valid_splits(const std::vector<std::string>& used) const;

 private:
  std::shared_ptr<const TokenStream> open_file(const std::filesystem::path& prefix);
  /// Nothing when the folder has no such split.
  std::shared_ptr<const TokenStream> open_split(const std::filesystem::path& folder,
                                                const std::string& split, bool combine);

  std::vector<std::filesystem::path> paths_;
  LanguageModelDatasetOptions options_;
  Dictionary dictionary_;
  std::map<std::filesystem::path, std::shared_ptr<const TokenStream>> files_;  ///< by prefix
  /// By prefix; each holds the list of its blocks.
  std::map<std::filesystem::path, std::shared_ptr<const LanguageModelDataset>> train_;
};

}  // namespace evomoe
