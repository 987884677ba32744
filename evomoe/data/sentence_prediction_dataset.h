#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "evomoe/data/dataset.h"
#include "evomoe/data/token_stream.h"

namespace evomoe {

/// What becomes of a row that is longer than max_positions.
enum class ShortenMethod {
  kNone,        ///< nothing: it does not fit
  kTruncate,    ///< its end is cut off
  kRandomCrop,  ///< both ends are, at a place drawn for (seed, epoch, item)
};

/// `none`, `truncate` or `random_crop`; anything else is a UsageError.
ShortenMethod parse_shorten_method(const std::string& name);

struct SentencePredictionDatasetOptions {
  std::optional<int64_t> init_token;       ///< put before a row
  std::optional<int64_t> separator_token;  ///< put before the second sentence
  bool shuffle = true;                     ///< false: items in the order of the file
  ShortenMethod shorten = ShortenMethod::kNone;
  int64_t max_positions = 512;  ///< what rows are shortened to
  int64_t seed = 1;             ///< of kRandomCrop
};

/// What is to be predicted of each row: a class, or a number. One of the two is empty.
struct SentenceLabels {
  std::string name;  ///< for messages
  std::vector<int64_t> classes;
  std::vector<float> numbers;

  int64_t size() const { return static_cast<int64_t>(classes.size() + numbers.size()); }
};

/// One or two sentences and their label. Batch::target holds a class a row, or Batch::numbers a
/// number; without labels (a test set) both are empty.
class SentencePredictionDataset : public Dataset {
 public:
  /// `second` and `labels` may be null; else there is one for each item. Unequal counts are an
  /// Error that names both.
  SentencePredictionDataset(std::shared_ptr<const TokenStream> first,
                            std::shared_ptr<const TokenStream> second,
                            std::shared_ptr<const SentenceLabels> labels, int64_t epoch,
                            const SentencePredictionDatasetOptions& options);

  bool has_labels() const { return labels_ != nullptr; }
  int64_t size() const override { return first_->items(); }
  int64_t item_size(int64_t item) const override;
  /// Drawn with `seed`, not by size: fairseq's order of this task.
  std::vector<int64_t> ordered_indices(int64_t seed) const override;
  Batch collate(std::span<const int64_t> items) const override;
  int64_t tokens() const override;
  std::string name() const override { return first_->name(); }

  std::vector<int64_t> row(int64_t item) const;

 private:
  int64_t whole_size(int64_t item) const;

  std::shared_ptr<const TokenStream> first_, second_;
  std::shared_ptr<const SentenceLabels> labels_;
  int64_t epoch_;
  SentencePredictionDatasetOptions options_;
};

}  // namespace evomoe
