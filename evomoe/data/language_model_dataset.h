#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "evomoe/data/dataset.h"
#include "evomoe/data/token_blocks.h"
#include "evomoe/text/dictionary.h"

namespace evomoe {

struct LanguageModelDatasetOptions {
  int64_t tokens_per_sample = 1024;  ///< block size
  BreakMode break_mode = BreakMode::kNone;
  bool add_bos_token = false;  ///< puts <s> before source and target
  bool pad_to_fixed_length =
      false;  ///< columns are at least tokens_per_sample, not the longest item
  int64_t pad_to_batch_size =
      0;  ///< rows are at least this many (`--pad-to-fixed-bsz`); 0: no such rows
};

/// Next-token prediction over the blocks of a corpus: target = block, source = what comes before
/// each of its tokens (</s> at the beginning of an item).
class LanguageModelDataset : public Dataset {
 public:
  /// Tokens are handed on as they are: that the dictionary has all of them is for whoever opens
  /// the stream to check (TokenStream::check_tokens).
  LanguageModelDataset(std::shared_ptr<const TokenStream> stream,
                       const LanguageModelDatasetOptions& options);

  int64_t size() const override { return blocks_.size(); }
  /// Tokens of the block, without the added <s> (as fairseq counts).
  int64_t item_size(int64_t item) const override { return blocks_.block_size(item); }
  Batch collate(std::span<const int64_t> items) const override;
  int64_t tokens() const override;
  int64_t rows_of(int64_t items) const override;
  std::string name() const override { return blocks_.stream().name(); }

  struct Item {
    std::vector<int64_t> source;
    std::vector<int64_t> target;
  };
  Item item(int64_t index) const;

 private:
  /// Writes the item's source and target to two rows; both have room for its length (with <s>).
  void read_item(int64_t index, std::span<int64_t> source, std::span<int64_t> target) const;
  int64_t row_length(int64_t item) const {
    return blocks_.block_size(item) + (options_.add_bos_token ? 1 : 0);
  }

  TokenBlocks blocks_;
  LanguageModelDatasetOptions options_;
};

}  // namespace evomoe
