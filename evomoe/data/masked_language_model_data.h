#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "evomoe/data/data_folders.h"
#include "evomoe/data/masked_language_model_dataset.h"
#include "evomoe/data/task_data.h"

namespace evomoe {

struct MaskedLanguageModelDataOptions {
  int64_t tokens_per_sample = 1024;  ///< of a row, with its <s>
  BreakMode break_mode = BreakMode::kNone;
  MaskingOptions masking;
  int64_t seed = 1;  ///< of the masks
};

/// dict.txt of a folder with `<mask>` behind it, unless it is the last symbol already. Elsewhere in
/// the file it is an Error.
Dictionary load_masked_dictionary(const std::filesystem::path& folder);

/// Data for masked language modelling, from the same folders as language modelling. The masks of
/// training differ from epoch to epoch; every other split has those of epoch 1.
class MaskedLanguageModelData : public TaskData {
 public:
  /// Whole words are found with the BPE of the first folder; a dictionary of BPE ids without it is
  /// then an Error.
  MaskedLanguageModelData(const std::string& paths, MaskedLanguageModelDataOptions options);

  const Dictionary& source_dictionary() const override { return dictionary_; }
  /// The blocks are shared by all epochs; the object is a new one for each.
  std::shared_ptr<const Dataset> train(int64_t epoch, const std::string& split) override;
  std::shared_ptr<const Dataset> open(const std::string& split, bool combine,
                                      int64_t pad_to_batch_size) override;
  std::vector<std::string> unused_valid_splits(const std::vector<std::string>& used) const override;

 private:
  std::shared_ptr<const TokenBlocks> blocks_of(std::shared_ptr<const TokenStream> stream) const;

  std::vector<std::filesystem::path> paths_;
  MaskedLanguageModelDataOptions options_;
  Dictionary dictionary_;
  std::shared_ptr<const TokenMasking> masking_;
  TokenFiles files_;
  std::map<std::filesystem::path, std::shared_ptr<const TokenBlocks>> train_blocks_;  ///< by prefix
  /// The dataset that train() gave last, and what for.
  int64_t train_epoch_ = 0;
  std::string train_split_;
  std::shared_ptr<const Dataset> train_;
};

}  // namespace evomoe
