#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "evomoe/data/dataset.h"
#include "evomoe/data/token_blocks.h"
#include "evomoe/data/token_masking.h"

namespace evomoe {

/// Masked language modelling over the blocks of a corpus: `<s>` and a block, some tokens of which
/// are hidden; the target holds those, and padding elsewhere. Rows are tokens_per_sample wide (an
/// item longer than that, which `complete` can make, widens its batch). The masks are those of one
/// epoch; a dataset of another epoch shares all else.
class MaskedLanguageModelDataset : public Dataset {
 public:
  MaskedLanguageModelDataset(std::shared_ptr<const TokenBlocks> blocks,
                             std::shared_ptr<const TokenMasking> masking, int64_t epoch,
                             int64_t tokens_per_sample, int64_t pad_to_batch_size = 0);

  int64_t size() const override { return blocks_->size(); }
  int64_t item_size(int64_t item) const override { return blocks_->block_size(item) + 1; }
  Batch collate(std::span<const int64_t> items) const override;
  int64_t tokens() const override;
  int64_t rows_of(int64_t items) const override;
  std::string name() const override { return blocks_->stream().name(); }

 private:
  std::shared_ptr<const TokenBlocks> blocks_;
  std::shared_ptr<const TokenMasking> masking_;
  int64_t epoch_;
  int64_t tokens_per_sample_;
  int64_t pad_to_batch_size_;
};

}  // namespace evomoe
