#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "evomoe/data/dataset.h"
#include "evomoe/data/dictionary.h"
#include "evomoe/data/token_blocks.h"

namespace evomoe {

struct MaskingOptions {
  double mask_prob = 0.15;
  double leave_unmasked_prob = 0.1;
  double random_token_prob = 0.1;
  bool freq_weighted_replacement = false;
  int64_t mask_multiple_length = 1;
  double mask_stdev = 0;
  /// --mask-whole-words: whether a token begins a word, by token; empty: tokens are masked alone.
  std::vector<bool> word_begins;

  /// Throws UsageError naming flag, value and what is allowed.
  void validate() const;
};

/// What masking makes of an item: the places that are to be predicted, and what stands there.
struct MaskedItem {
  std::vector<int64_t> source;
  std::vector<int64_t> target;  ///< the original token where it is to be predicted, else padding
};

/// Draws masks, number for number as fairseq's MaskTokensDataset (reference/evomoe.md 9.5).
class TokenMasker {
 public:
  /// `mask`: index of <mask>.
  TokenMasker(const MaskingOptions& options, const Dictionary& dictionary, int64_t mask);
  MaskedItem operator()(std::span<const int64_t> item, int64_t item_seed) const;

 private:
  MaskingOptions options_;
  int64_t mask_;
  std::vector<double> replacement_weights_;  ///< of each token as a random replacement
};

/// Masked language modelling over the blocks of a corpus: <s> and a block, some of its tokens masked.
/// The masks are those of one epoch.
class MaskedLanguageModelDataset : public Dataset {
 public:
  /// `blocks` hold one token less than `tokens_per_sample`; rows are padded to it.
  MaskedLanguageModelDataset(std::shared_ptr<const TokenBlocks> blocks,
                             std::shared_ptr<const TokenMasker> masker, int64_t tokens_per_sample,
                             int64_t seed, int64_t epoch, int64_t pad_to_batch_size = 0);

  int64_t size() const override { return blocks_->size(); }
  int64_t item_size(int64_t item) const override { return blocks_->block_size(item) + 1; }
  std::vector<int64_t> ordered_indices(int64_t seed) const override;
  Batch collate(std::span<const int64_t> items) const override;
  int64_t rows_of(int64_t items) const override;
  int64_t tokens() const override;
  std::string name() const override { return blocks_->stream().name(); }

  MaskedItem item(int64_t index) const;

 private:
  std::shared_ptr<const TokenBlocks> blocks_;
  std::shared_ptr<const TokenMasker> masker_;
  int64_t tokens_per_sample_, seed_, epoch_, pad_to_batch_size_;
};

}  // namespace evomoe
