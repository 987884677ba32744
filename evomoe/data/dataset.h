#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace evomoe {

/// Items padded to rectangles: one of what the model reads, one of what it is to predict. Matrices
/// are row-major; padding is Dictionary::kPad.
struct Batch {
  int64_t rows = 0;             ///< with rows of padding, if any; 0: an empty batch
  int64_t columns = 0;          ///< of source
  int64_t target_columns = 0;   ///< of target and previous_output
  std::vector<int64_t> source;  ///< [rows, columns]; right padded, but for a translation's, which
                                ///< is padded on the left
  std::vector<int64_t> previous_output;  ///< [rows, target_columns], what the decoder of an
                                         ///< encoder-decoder reads; empty for other models
  std::vector<int64_t> target;   ///< [rows, target_columns]: tokens, or one class of each row
  std::vector<float> numbers;    ///< [rows], to predict instead of a target (regression)
  std::vector<int64_t> ids;      ///< items of the dataset; rows of padding have none
  std::vector<int64_t> lengths;  ///< real source tokens of each item, as many as ids
  /// [rows, columns] of rows that hold several sequences: which one (from 1) a token of source
  /// belongs to, 0: padding. Empty: each row is one.
  std::vector<int64_t> segment;
  int64_t tokens = 0;        ///< what fairseq counts as ntokens: sum of lengths; in translation
                             ///< and of answers to prompts, real target tokens
  bool few_targets = false;  ///< many real source tokens have padding as their target
  /// Not this rank's: it has no batch in this micro-batch, and goes through one that another rank
  /// has, so that all ranks do the same. What comes out is thrown away; ids are empty, tokens 0.
  bool stands_in = false;
  /// Rows of the same update, over all ranks and micro-batches, before this batch's first one (the
  /// key of its noise, so that splitting an update differently changes nothing).
  int64_t first_sequence = 0;

  bool empty() const { return rows == 0; }
};

/// Numbered items that can be ordered and made into batches. Safe to read from many threads.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  /// Length of an item for sorting, batching and max positions.
  virtual int64_t item_size(int64_t item) const = 0;
  /// Whether the model has positions for the item; `max_positions` 0: any number.
  virtual bool fits(int64_t item, int64_t max_positions) const {
    return max_positions <= 0 || item_size(item) <= max_positions;
  }
  /// That limit in words, for messages: "the model's 512 positions".
  virtual std::string limit(int64_t max_positions) const {
    return "the model's " + std::to_string(max_positions) + " positions";
  }
  /// Batch order before batches are formed; here by item_size(), ties in an order drawn with `seed`
  /// (ordered_by_size).
  virtual std::vector<int64_t> ordered_indices(int64_t seed) const;
  virtual Batch collate(std::span<const int64_t> items) const = 0;
  /// What Batch::tokens of all items comes to.
  virtual int64_t tokens() const = 0;
  /// The examples that an item consists of where it holds several; empty: it is one, itself.
  virtual std::span<const int64_t> examples_in(int64_t item) const { return {}; }
  /// Rows that collate makes of `items` items.
  virtual int64_t rows_of(int64_t items) const { return items; }
  /// For messages, for example `data-bin/train`.
  virtual std::string name() const = 0;
};

}  // namespace evomoe
