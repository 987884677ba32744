#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "evomoe/data/dataset.h"
#include "evomoe/data/token_stream.h"

namespace evomoe {

struct LanguagePairOptions {
  bool left_pad_source = true;
  bool left_pad_target = false;
  int64_t truncate_source = 0;  ///< longer sources are cut to this, </s> included; 0: not
};

/// Sentences and their translations (reference/evomoe.md 9.6). A batch is sorted by falling length of
/// the source; the decoder reads the target with its </s> in front.
class LanguagePairDataset : public Dataset {
 public:
  /// `target` may be null: then there is nothing to predict, and the decoder starts from </s> alone.
  /// An Error names both files when they have different numbers of lines.
  LanguagePairDataset(std::shared_ptr<const TokenStream> source,
                      std::shared_ptr<const TokenStream> target, const LanguagePairOptions& options);

  int64_t size() const override { return source_->items(); }
  /// The longer one of both sides.
  int64_t item_size(int64_t item) const override;
  std::vector<int64_t> ordered_indices(int64_t seed) const override;
  Batch collate(std::span<const int64_t> items) const override;
  int64_t tokens() const override;
  std::string name() const override { return source_->name(); }

  bool has_target() const { return target_ != nullptr; }
  std::vector<int64_t> source(int64_t item) const;
  std::vector<int64_t> target(int64_t item) const;

 private:
  int64_t source_size(int64_t item) const;

  std::shared_ptr<const TokenStream> source_, target_;
  LanguagePairOptions options_;
};

}  // namespace evomoe
