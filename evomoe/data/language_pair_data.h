#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "evomoe/data/language_pair_dataset.h"
#include "evomoe/data/task_data.h"

namespace evomoe {

/// The two languages of a data folder, from the names of its files: `train.de-en.de.idx`. Error when
/// it holds no such file.
std::pair<std::string, std::string> languages_of(const std::filesystem::path& folder);

/// Data for translation: dict.{lang}.txt, {split}.{a}-{b}.{lang}.{bin,idx}, where a-b is either
/// direction.
class LanguagePairData : public TaskData {
 public:
  LanguagePairData(const std::string& paths, const std::string& source_lang,
                   const std::string& target_lang, const LanguagePairOptions& options,
                   int64_t upsample_primary = 1);

  const Dictionary& source_dictionary() const override { return source_dictionary_; }
  const Dictionary& target_dictionary() const override { return target_dictionary_; }
  std::shared_ptr<const Dataset> train(int64_t epoch, const std::string& split) override;
  std::shared_ptr<const Dataset> open(const std::string& split, bool combine,
                                      int64_t pad_to_batch_size) override {
    return open_pairs(split, combine);
  }
  std::vector<std::string> unused_valid_splits(const std::vector<std::string>& used) const override;

  /// As open(), for one who reads the sentences themselves. A split without a target side is one as
  /// well.
  std::shared_ptr<const LanguagePairDataset> open_pairs(const std::string& split, bool combine);

 private:
  /// Path without side and extension, `folder/train.de-en`; empty when the split is not there.
  std::filesystem::path prefix_of(const std::filesystem::path& folder,
                                  const std::string& split) const;
  std::shared_ptr<const LanguagePairDataset> open_split(const std::filesystem::path& folder,
                                                        const std::string& split, bool combine,
                                                        int64_t times);
  std::shared_ptr<const TokenStream> open_file(const std::filesystem::path& prefix,
                                               const Dictionary& dictionary);

  std::vector<std::filesystem::path> paths_;
  std::string source_lang_, target_lang_;
  LanguagePairOptions options_;
  int64_t upsample_primary_;
  Dictionary source_dictionary_, target_dictionary_;
  std::map<std::filesystem::path, std::shared_ptr<const TokenStream>> files_;
  std::map<std::filesystem::path, std::shared_ptr<const LanguagePairDataset>> train_;
};

}  // namespace evomoe
