#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "evomoe/data/data_folders.h"
#include "evomoe/data/language_pair_dataset.h"
#include "evomoe/data/task_data.h"

namespace evomoe {

struct LanguagePairDataOptions {
  std::optional<std::string> source_lang, target_lang;  ///< not given: from the files' names
  int64_t upsample_primary = 1;  ///< times `train` is read where there is a `train1`
  LanguagePairDatasetOptions pairs;
};

/// The languages of a folder, from a file name such as `train.de-en.de.idx`. An Error when no file
/// has such a name, or when there are several pairs.
std::pair<std::string, std::string> infer_language_pair(const std::filesystem::path& folder);

/// Data for translation: `dict.{lang}.txt` and `{split}.{src}-{tgt}.{lang}.{bin,idx}`. The files
/// of `en-de` serve `de` to `en` too.
class LanguagePairData : public TaskData {
 public:
  /// Reads both dictionaries of the first folder.
  LanguagePairData(const std::string& paths, LanguagePairDataOptions options);

  const std::string& source_lang() const { return source_lang_; }
  const std::string& target_lang() const { return target_lang_; }
  const Dictionary& source_dictionary() const override { return source_dictionary_; }
  const Dictionary& target_dictionary() const override { return target_dictionary_; }
  std::shared_ptr<const Dataset> train(int64_t epoch, const std::string& split) override;
  /// Both sides must be there. There is no such thing as rows of padding here: `pad_to_batch_size`
  /// other than 0 is a UsageError.
  std::shared_ptr<const Dataset> open(const std::string& split, bool combine,
                                      int64_t pad_to_batch_size) override;
  std::vector<std::string> unused_valid_splits(const std::vector<std::string>& used) const override;

  /// As open(), for one who translates: the targets may be missing.
  std::shared_ptr<const LanguagePairDataset> open_pairs(const std::string& split, bool combine);

 private:
  /// The part `{split}{number}` of a folder; nothing when there is no source.
  std::optional<PairFiles> open_part(const std::filesystem::path& folder, const std::string& split);
  std::shared_ptr<const LanguagePairDataset> open_split(const std::filesystem::path& folder,
                                                        const std::string& split, bool combine,
                                                        const char* remedy);
  std::vector<std::string> splits_in(const std::filesystem::path& folder) const;

  std::vector<std::filesystem::path> paths_;
  LanguagePairDataOptions options_;
  std::string source_lang_, target_lang_;
  Dictionary source_dictionary_, target_dictionary_;
  TokenFiles files_;
  /// By prefix.
  std::map<std::filesystem::path, std::shared_ptr<const LanguagePairDataset>> train_;
};

}  // namespace evomoe
