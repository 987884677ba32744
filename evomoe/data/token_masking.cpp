#include "evomoe/data/token_masking.h"

#include <algorithm>
#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/data/numpy_random.h"

namespace evomoe {
namespace {

void check(const MaskingOptions& o) {
  if (!(o.mask_prob > 0 && o.mask_prob < 1)) {
    fail_usage("--mask-prob {} is outside 0 .. 1 (both excluded)", o.mask_prob);
  }
  if (!(o.random_token_prob >= 0 && o.leave_unmasked_prob >= 0 &&
        o.random_token_prob + o.leave_unmasked_prob <= 1)) {
    fail_usage(
        "--random-token-prob {} and --leave-unmasked-prob {} must not be negative nor come to more "
        "than 1",
        o.random_token_prob, o.leave_unmasked_prob);
  }
  if (!(o.mask_multiple_length >= 1 && o.mask_stdev >= 0)) {
    fail_usage("--mask-multiple-length {} must be at least 1, --mask-stdev {} at least 0",
               o.mask_multiple_length, o.mask_stdev);
  }
  if (o.mask_stdev == 0 && o.mask_multiple_length != std::floor(o.mask_multiple_length)) {
    fail_usage("--mask-multiple-length {} must be a whole number unless --mask-stdev is given",
               o.mask_multiple_length);
  }
}

std::vector<double> replacement_weights(const Dictionary& dictionary, bool by_frequency) {
  std::vector<double> weights(dictionary.size(), 1.0);
  for (int64_t i = 0; by_frequency && i < dictionary.size(); ++i) {
    weights[i] = static_cast<double>(dictionary.count(i));
    EVOMOE_CHECK(weights[i] >= 0,
                 "--freq-weighted-replacement draws tokens by the counts of the dictionary, and "
                 "`{}` has {}; leave the flag out, or count words (`evomoe preprocess`)",
                 dictionary.symbol(i), dictionary.count(i));
  }
  std::fill_n(weights.begin(), Dictionary::kSpecials, 0.0);
  return cumulative_weights(weights);
}

}  // namespace

void MaskingOptions::describe(OptionTable& table) {
  table.add("mask-prob", &mask_prob, "Share of the tokens to predict.").range(0, 1);
  table.add("leave-unmasked-prob", &leave_unmasked_prob, "Share of those that stay as they are.")
      .range(0, 1);
  table.add("random-token-prob", &random_token_prob, "Share of those that become another token.")
      .range(0, 1);
  table.add("freq-weighted-replacement", &freq_weighted_replacement,
            "Those other tokens are drawn in proportion to their frequency.");
  table.add("mask-whole-words", &mask_whole_words, "Masks all tokens of a word.");
  table
      .add("mask-multiple-length", &mask_multiple_length,
           "Tokens in a row that are masked together.")
      .at_least(1);
  table.add("mask-stdev", &mask_stdev, "Standard deviation of that length.").at_least(0);
}

std::vector<char> word_beginnings(const Dictionary& dictionary, const ByteBpe* bpe) {
  std::vector<char> begins(dictionary.size(), 1);
  for (int64_t i = Dictionary::kSpecials; bpe != nullptr && i < dictionary.size(); ++i) {
    const auto id = bpe_token_of(dictionary.symbol(i));
    if (id && *id < bpe->size()) begins[i] = bpe->bytes(*id).starts_with(' ') ? 1 : 0;
  }
  return begins;
}

TokenMasking::TokenMasking(const MaskingOptions& options, const Dictionary& dictionary,
                           int64_t seed, const ByteBpe* bpe)
    : options_(options), seed_(seed), mask_token_(dictionary.size() - 1) {
  check(options);
  EVOMOE_CHECK(dictionary.symbol(mask_token_) == "<mask>",
               "the last symbol of the dictionary is `{}`; masking needs `<mask>` there",
               dictionary.symbol(mask_token_));
  if (options.random_token_prob > 0) {
    replacements_ = replacement_weights(dictionary, options.freq_weighted_replacement);
  }
  if (options.mask_whole_words) begins_word_ = word_beginnings(dictionary, bpe);
}

// The order of the draws is fairseq's (MaskTokensDataset): with another one the same seed would
// hide other tokens.
void TokenMasking::mask(int64_t epoch, int64_t item, std::span<int64_t> source,
                        std::span<int64_t> target) const {
  auto random = NumpyRandom::of_item(seed_, epoch, item);
  const auto tokens = static_cast<int64_t>(source.size());
  // Units are what is masked as one: word w is the tokens [word_begin[w], word_begin[w + 1]).
  std::vector<int64_t> word_begin;
  for (int64_t i = 0; !begins_word_.empty() && i < tokens; ++i) {
    // What comes before the first beginning belongs to the first word.
    if (i == 0 || begins_word_[source[i]] != 0) word_begin.push_back(i);
  }
  const bool words = !begins_word_.empty();
  const int64_t units = words ? static_cast<int64_t>(word_begin.size()) : tokens;
  word_begin.push_back(tokens);

  const double length = options_.mask_multiple_length;
  const auto chosen = static_cast<int64_t>(
      options_.mask_prob * static_cast<double>(units) / length + random.rand());
  const auto starts = random.choice_without_replacement(units, chosen);
  std::vector<char> masked(units, 0);
  std::vector<int64_t> lengths(starts.size(), static_cast<int64_t>(length));
  if (options_.mask_stdev > 0) {
    for (int64_t& n : lengths) {  // rounds halves to even, as Python does
      n = static_cast<int64_t>(std::nearbyint(random.normal(length, options_.mask_stdev)));
    }
  }
  for (size_t i = 0; i < starts.size(); ++i) {
    const int64_t end = std::min(units, starts[i] + lengths[i]);
    for (int64_t unit = starts[i]; unit < end; ++unit) masked[unit] = 1;
  }

  enum Fate : char { kMask, kKeep, kReplace };
  std::vector<char> fate(units, kMask);
  const double spared = options_.random_token_prob + options_.leave_unmasked_prob;
  if (spared > 0) {
    std::vector<char> is_spared(units);
    for (auto& unit : is_spared) unit = random.rand() < spared ? 1 : 0;
    const bool both = options_.random_token_prob > 0 && options_.leave_unmasked_prob > 0;
    const double keep = options_.leave_unmasked_prob / spared;
    for (int64_t unit = 0; unit < units; ++unit) {
      const bool kept = both ? random.rand() < keep : options_.random_token_prob == 0;
      if (is_spared[unit] != 0) fate[unit] = kept ? kKeep : kReplace;
    }
  }

  std::fill(target.begin(), target.end(), Dictionary::kPad);
  for (int64_t unit = 0; unit < units; ++unit) {
    if (masked[unit] == 0) continue;
    const int64_t begin = words ? word_begin[unit] : unit;
    const int64_t end = words ? word_begin[unit + 1] : unit + 1;
    for (int64_t i = begin; i < end; ++i) {
      target[i] = source[i];
      if (fate[unit] == kMask) source[i] = mask_token_;
      if (fate[unit] == kReplace) source[i] = random.choose(replacements_);
    }
  }
}

}  // namespace evomoe
