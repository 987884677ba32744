#pragma once

#include <string_view>

namespace evomoe {

/// Cuts a text into the words of GPT-2's byte-level BPE, which merges never cross:
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`. The words add up
/// to the text for any bytes: a stretch that is no UTF-8 is a word of its own. ASCII is cut by
/// hand, everything else by the regular expression (PCRE2).
class BpeWords {
 public:
  explicit BpeWords(std::string_view text) : text_(text) {}

  /// The next word, or false at the end of the text.
  bool next(std::string_view& word);

  /// As next, by the regular expression alone: the definition that the tests hold next() to.
  bool next_by_regex(std::string_view& word);

 private:
  /// Makes text_[region_begin_, region_end_) the valid UTF-8 around at_. False: there is none,
  /// `word` is the invalid stretch.
  bool enter_region(std::string_view& word);
  /// End of the ASCII word at at_, or 0 when a byte that is not ASCII decides about it.
  size_t ascii_end() const;
  size_t regex_end() const;

  std::string_view text_;
  size_t at_ = 0;
  size_t region_begin_ = 0;
  size_t region_end_ = 0;
};

}  // namespace evomoe
