#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "evomoe/data/dataset.h"
#include "evomoe/data/token_stream.h"

namespace evomoe {

struct LanguagePairDatasetOptions {
  bool left_pad_source = true;
  bool left_pad_target = false;
  bool truncate_source = false;      ///< to max_source_positions, its </s> with it
  int64_t max_source_positions = 0;  ///< longer sources do not fit; 0: as fits() is told
  int64_t max_target_positions = 0;
  bool shuffle = true;  ///< equally long pairs in drawn order; false: as they lie (fairseq's test)
};

/// One part of a corpus of pairs: a source for each line, and a target, which may be missing.
struct PairFiles {
  std::shared_ptr<const TokenStream> source;
  std::shared_ptr<const TokenStream> target;  ///< null: sources alone, to be translated
  int64_t times = 1;                          ///< that its items are there (--upsample-primary)
};

/// Pairs of sentences to translate. The target's `</s>` in front makes previous_output.
class LanguagePairDataset : public Dataset {
 public:
  /// An Error when the counts of a part's two sides differ (it names both), or when some parts
  /// have targets and others not.
  LanguagePairDataset(std::vector<PairFiles> parts, const LanguagePairDatasetOptions& options);

  bool has_target() const { return parts_.front().target != nullptr; }
  int64_t size() const override { return first_item_.back(); }
  int64_t source_size(int64_t item) const;
  int64_t target_size(int64_t item) const;  ///< 0 without targets
  int64_t item_size(int64_t item) const override;
  bool fits(int64_t item, int64_t max_positions) const override;
  std::string limit(int64_t max_positions) const override;
  /// By source size, ties by target size.
  std::vector<int64_t> ordered_indices(int64_t seed) const override;
  /// Rows by falling source size. Without targets the batch has none, and counts source tokens.
  Batch collate(std::span<const int64_t> items) const override;
  int64_t tokens() const override;
  std::string name() const override;

  std::vector<int64_t> source(int64_t item) const;  ///< with </s>
  std::vector<int64_t> target(int64_t item) const;  ///< with </s>; empty without targets

 private:
  struct Place {
    const PairFiles& files;
    int64_t item;
  };
  Place place(int64_t item) const;

  std::vector<PairFiles> parts_;
  LanguagePairDatasetOptions options_;
  std::vector<int64_t> first_item_{0};  ///< parts + 1 entries
};

}  // namespace evomoe
