#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "evomoe/text/byte_bpe.h"
#include "evomoe/text/dictionary.h"

namespace evomoe {

/// What is hidden from a masked language model (the `--mask-...` flags).
struct MaskingOptions {
  double mask_prob = 0.15;                 ///< share of tokens (words) to predict
  double leave_unmasked_prob = 0.1;        ///< of those: kept as they are
  double random_token_prob = 0.1;          ///< of those: replaced by another token
  bool freq_weighted_replacement = false;  ///< by counts of the dictionary, else all alike
  bool mask_whole_words = false;
  double mask_multiple_length = 1;  ///< tokens in a row that are masked together
  double mask_stdev = 0;            ///< of that length; 0: always the same, a whole number
};

/// Which symbols of a dictionary begin a word: those whose bytes begin with a space, and all that
/// are no ids of the BPE. Without a BPE every symbol is a word.
std::vector<char> word_beginnings(const Dictionary& dictionary, const ByteBpe* bpe);

/// Masks items with the random numbers of fairseq: a pure function of (seed, epoch, item).
class TokenMasking {
 public:
  /// `dictionary` ends with `<mask>`. Options that make no sense are a UsageError.
  TokenMasking(const MaskingOptions& options, const Dictionary& dictionary, int64_t seed,
               const ByteBpe* bpe);

  /// Masks `source` in place; `target` gets the tokens to predict, and padding elsewhere.
  void mask(int64_t epoch, int64_t item, std::span<int64_t> source,
            std::span<int64_t> target) const;

 private:
  MaskingOptions options_;
  int64_t seed_;
  int64_t mask_token_;
  std::vector<double> replacements_;  ///< running sums of the weights of other tokens
  std::vector<char> begins_word_;     ///< by symbol; empty: tokens are masked, not words
};

}  // namespace evomoe
