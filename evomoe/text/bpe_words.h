#pragma once

#include <cstdint>
#include <string_view>

#include "evomoe/text/dictionary.h"

namespace evomoe {

/// Cuts a text into the words of GPT-2's byte-level BPE, which merges never cross:
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`. The words add up
/// to the text for any bytes: a stretch that is no UTF-8 is a word of its own. The classes are
/// those of unicode_version().
class BpeWords {
 public:
  explicit BpeWords(std::string_view text) : text_(text) {}

  /// The next word, or false at the end of the text.
  bool next(std::string_view& word);

 private:
  enum class Kind : uint8_t { kSpace, kLetter, kNumber, kOther, kInvalid };
  struct Character {
    Kind kind;
    int length;  ///< bytes
  };

  static Kind ascii_kind(char c);
  static Kind kind_of(uint32_t code);
  /// The character at text_[at]; at the end of the text an invalid one.
  Character character(size_t at) const;
  size_t end_of_run(size_t at, Kind kind) const;
  size_t end_of_word() const;

  std::string_view text_;
  size_t at_ = 0;
};

/// How often each word occurs.
using BpeWordCounts = StringMap<int64_t>;

/// Adds the words of `text`.
void count_bpe_words(std::string_view text, BpeWordCounts& counts);

}  // namespace evomoe
