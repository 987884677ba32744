#include "evomoe/text/bpe_words.h"

#include <algorithm>
#include <array>

#include "evomoe/text/text_lines.h"
#include "evomoe/text/unicode.h"

namespace evomoe {

BpeWords::Kind BpeWords::ascii_kind(char c) {
  static constexpr auto kKinds = [] {
    std::array<Kind, 0x80> kinds{};
    for (int c = 0; c < 0x80; ++c) {
      const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
      const bool space = c == ' ' || (c >= '\t' && c <= '\r');
      kinds[c] = letter                 ? Kind::kLetter
                 : c >= '0' && c <= '9' ? Kind::kNumber
                 : space                ? Kind::kSpace
                                        : Kind::kOther;
    }
    return kinds;
  }();
  return kKinds[static_cast<uint8_t>(c)];
}

BpeWords::Kind BpeWords::kind_of(uint32_t code) {
  // No white space of ASCII gets here, so Python's is that of the expression.
  return is_white_space(code) ? Kind::kSpace
         : is_letter(code)    ? Kind::kLetter
         : is_number(code)    ? Kind::kNumber
                              : Kind::kOther;
}

BpeWords::Character BpeWords::character(size_t at) const {
  if (at >= text_.size()) return {Kind::kInvalid, 0};
  if (static_cast<uint8_t>(text_[at]) < 0x80) return {ascii_kind(text_[at]), 1};
  uint32_t code = 0;
  const int length = utf8_character(text_, at, code);
  return length == 0 ? Character{Kind::kInvalid, 1} : Character{kind_of(code), length};
}

size_t BpeWords::end_of_run(size_t at, Kind kind) const {
  while (at < text_.size()) {
    const auto next = character(at);
    if (next.kind != kind) break;
    at += static_cast<size_t>(next.length);
  }
  return at;
}

size_t BpeWords::end_of_word() const {
  const auto first = character(at_);
  if (first.kind == Kind::kInvalid) return end_of_run(at_, Kind::kInvalid);
  const auto behind = text_.substr(at_ + 1, 2);
  if (text_[at_] == '\'') {
    for (const std::string_view contraction : {"s", "t", "re", "ve", "m", "ll", "d"})
      if (behind.starts_with(contraction)) return at_ + 1 + contraction.size();
  }
  if (first.kind != Kind::kSpace) return end_of_run(at_, first.kind);
  if (text_[at_] == ' ') {  // it belongs to the word that follows
    const auto kind = character(at_ + 1).kind;
    if (kind != Kind::kSpace && kind != Kind::kInvalid) return end_of_run(at_ + 1, kind);
  }
  // Of several, the last is left to the word behind them.
  size_t end = at_;
  for (size_t next = at_; next < text_.size();) {
    const auto space = character(next);
    if (space.kind == Kind::kInvalid) return next;
    if (space.kind != Kind::kSpace) return end > at_ ? end : next;
    end = next;
    next += static_cast<size_t>(space.length);
  }
  return text_.size();
}

bool BpeWords::next(std::string_view& word) {
  if (at_ >= text_.size()) return false;
  const size_t end = end_of_word();
  word = text_.substr(at_, end - at_);
  at_ = end;
  return true;
}

void count_bpe_words(std::string_view text, BpeWordCounts& counts) {
  BpeWords words(text);
  for (std::string_view word; words.next(word);) {
    const auto found = counts.find(word);
    if (found != counts.end()) {
      ++found->second;
    } else {
      counts.emplace(word, 1);
    }
  }
}

}  // namespace evomoe
