#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "evomoe/data/language_model_data.h"
#include "evomoe/data/masked_language_model_dataset.h"

namespace evomoe {

class ByteBpe;

struct MaskedLanguageModelOptions {
  int64_t tokens_per_sample = 512;  ///< <s> included
  BreakMode break_mode = BreakMode::kComplete;
  MaskingOptions masking;
  bool mask_whole_words = false;    ///< by the byte-level BPE beside the data
  int64_t seed = 1;
};

/// Data for masked language modelling: that of language modelling, with <mask> as the dictionary's
/// last symbol.
class MaskedLanguageModelData : public TaskData {
 public:
  MaskedLanguageModelData(const std::string& paths, const MaskedLanguageModelOptions& options);

  const Dictionary& source_dictionary() const override { return dictionary_; }
  std::shared_ptr<const Dataset> train(int64_t epoch, const std::string& split) override;
  std::shared_ptr<const Dataset> open(const std::string& split, bool combine,
                                      int64_t pad_to_batch_size) override;
  std::vector<std::string> unused_valid_splits(
      const std::vector<std::string>& used) const override {
    return text_.unused_valid_splits(used);
  }

 private:
  std::shared_ptr<const TokenBlocks> blocks_of(std::shared_ptr<const TokenStream> stream) const;

  LanguageModelData text_;
  Dictionary dictionary_;
  MaskedLanguageModelOptions options_;
  std::shared_ptr<const TokenMasker> masker_;
  std::map<std::string, std::shared_ptr<const TokenBlocks>> blocks_;  ///< of training, by text
  std::pair<int64_t, std::shared_ptr<const Dataset>> last_;  ///< epoch and data asked for last
  std::string last_split_;
};

/// Whether each symbol of a dictionary of GPT-2 BPE ids begins a word: specials, and tokens that
/// begin with a space.
std::vector<bool> word_begins(const Dictionary& dictionary, const ByteBpe& bpe);

}  // namespace evomoe
