#include "evomoe/text/tokenizer_rules.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/text/bpe_words.h"
#include "evomoe/text/text_lines.h"
#include "evomoe/text/unicode.h"

namespace evomoe {
namespace {

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

bool is_unicode_space(uint32_t code) { return u_isUWhiteSpace(static_cast<UChar32>(code)) != 0; }

bool is_word_character(uint32_t code) {
  const auto character = static_cast<UChar32>(code);
  const auto classes = U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK;
  return (U_MASK(u_charType(character)) & classes) != 0 || u_isUAlphabetic(character) != 0 ||
         u_hasBinaryProperty(character, UCHAR_JOIN_CONTROL) != 0;
}

/// The first byte of the character that ends at `end`.
size_t begin_of_last(std::string_view text, size_t end) {
  do {
    --end;
  } while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80);
  return end;
}

uint32_t character_at(std::string_view text, size_t at) {
  uint32_t code = 0;
  utf8_character(text, at, code);
  return code;
}

/// Whether a letter or the like stands directly before or behind text[begin, end).
bool is_within_word(std::string_view text, size_t begin, size_t end) {
  return (begin > 0 && is_word_character(character_at(text, begin_of_last(text, begin)))) ||
         (end < text.size() && is_word_character(character_at(text, end)));
}

size_t without_spaces_before(std::string_view text, size_t begin) {
  while (begin > 0) {
    const size_t last = begin_of_last(text, begin);
    if (!is_unicode_space(character_at(text, last))) break;
    begin = last;
  }
  return begin;
}

size_t without_spaces_behind(std::string_view text, size_t end) {
  while (end < text.size()) {
    uint32_t code = 0;
    const int length = utf8_character(text, end, code);
    if (!is_unicode_space(code)) break;
    end += static_cast<size_t>(length);
  }
  return end;
}

struct Span {
  size_t begin = 0, end = 0;
  bool match = false;
};

/// The whole text as matches and what is between them.
std::vector<Span> spans_of(const std::vector<UnicodePattern::Match>& matches, bool invert,
                           size_t size) {
  std::vector<Span> spans;
  size_t at = 0;
  for (const auto& [begin, end] : matches) {
    if (begin > at) spans.push_back({at, begin, invert});
    spans.push_back({begin, end, !invert});
    at = end;
  }
  if (at < size) spans.push_back({at, size, invert});
  return spans;
}

void split_at_matches(const std::vector<UnicodePattern::Match>& matches,
                      TokenizerRules::Behavior behavior, bool invert, std::string_view text,
                      std::vector<std::string_view>& words) {
  using Behavior = TokenizerRules::Behavior;
  const auto spans = spans_of(matches, invert, text.size());
  Span word;  // that may still grow
  const auto end_word = [&] {
    if (word.begin < word.end) words.push_back(text.substr(word.begin, word.end - word.begin));
  };
  bool before = false;  // whether the last span is a match
  for (const auto& span : spans) {
    const bool joins = (behavior == Behavior::kContiguous && span.match == before) ||
                       (behavior == Behavior::kMergedWithPrevious && span.match && !before) ||
                       (behavior == Behavior::kMergedWithNext && !span.match && before);
    before = span.match;
    if (joins) {
      word.end = span.end;
      continue;
    }
    end_word();
    word = span;
    if (behavior == Behavior::kRemoved && span.match) word.end = word.begin;
  }
  end_word();
}

}  // namespace

std::string normalized_text(std::string_view text, TokenizerRules::Normalization form) {
  using Normalization = TokenizerRules::Normalization;
  if (form == Normalization::kNone) return std::string(text);
  UErrorCode status = U_ZERO_ERROR;
  const auto* normalizer = form == Normalization::kNfc   ? icu::Normalizer2::getNFCInstance(status)
                           : form == Normalization::kNfd ? icu::Normalizer2::getNFDInstance(status)
                           : form == Normalization::kNfkc
                               ? icu::Normalizer2::getNFKCInstance(status)
                               : icu::Normalizer2::getNFKDInstance(status);
  std::string normal;
  if (U_SUCCESS(status) != 0) {
    icu::StringByteSink<std::string> sink(&normal, static_cast<int32_t>(text.size()));
    normalizer->normalizeUTF8(0, text, sink, /*edits=*/nullptr, status);
  }
  EVOMOE_CHECK(U_SUCCESS(status) != 0, "ICU makes no normal form: {}", u_errorName(status));
  return normal;
}

TokenizerWords::TokenizerWords(const TokenizerRules& rules) : rules_(rules) {
  for (const auto& token : rules.added) {
    if (token.special && rules.special_as_text) continue;
    auto text = token.normalized ? normalized_text(token.text, rules.normalization) : token.text;
    if (text.empty()) continue;
    auto& table = token.normalized ? normalized_ : plain_;
    table[static_cast<uint8_t>(text.front())].push_back({std::move(text), &token});
  }
  for (auto* table : {&plain_, &normalized_}) {
    for (auto& of_byte : *table) {
      std::ranges::stable_sort(
          of_byte, [](const auto& a, const auto& b) { return a.text.size() > b.text.size(); });
    }
  }
  for (const auto& step : rules.steps) {
    auto& finder = finders_.emplace_back();
    if (step.kind == TokenizerRules::Step::Kind::kPattern) finder.emplace(*step.pattern);
  }
}

void TokenizerWords::find_added(std::string_view text, const Table& table,
                                std::vector<Piece>& pieces) {
  pieces.clear();
  size_t from = 0;  // what is before it is in a piece
  for (size_t at = 0; at < text.size();) {
    const auto& sought = table[static_cast<uint8_t>(text[at])];
    const auto found = std::ranges::find_if(
        sought, [&](const auto& each) { return text.substr(at).starts_with(each.text); });
    if (found == sought.end()) {
      ++at;
      continue;
    }
    const auto& token = *found->token;
    size_t begin = at;
    size_t end = at + found->text.size();
    at = end;
    if (token.single_word && is_within_word(text, begin, end)) continue;
    if (token.strip_left) begin = std::max(without_spaces_before(text, begin), from);
    if (token.strip_right) end = without_spaces_behind(text, end);
    if (begin > from) pieces.push_back({text.substr(from, begin - from), -1});
    pieces.push_back({text.substr(begin, end - begin), token.id});
    from = end;
  }
  if (from < text.size()) pieces.push_back({text.substr(from), -1});
}

void TokenizerWords::take_step(size_t number, std::string_view text) {
  const auto& step = rules_.steps[number];
  using Kind = TokenizerRules::Step::Kind;
  switch (step.kind) {
    case Kind::kPattern:
      split_at_matches(finders_[number]->find_all(text), step.behavior, step.invert, text,
                       next_words_);
      return;
    case Kind::kDigits:
      digits_.clear();
      for (size_t at = 0; at < text.size();) {
        uint32_t code = 0;
        const size_t end = at + static_cast<size_t>(utf8_character(text, at, code));
        if (is_number(code)) digits_.push_back({at, end});
        at = end;
      }
      split_at_matches(digits_,
                       step.single_digits ? TokenizerRules::Behavior::kIsolated
                                          : TokenizerRules::Behavior::kContiguous,
                       /*invert=*/false, text, next_words_);
      return;
    case Kind::kPrefixSpace:
      next_words_.push_back(text.starts_with(' ') ? text : own(" " + std::string(text)));
      return;
    case Kind::kWords:
      BpeWords words(text);
      for (std::string_view word; words.next(word);) next_words_.push_back(word);
      return;
  }
}

void TokenizerWords::cut_words(std::string_view text) {
  words_.assign(1, text);
  for (size_t step = 0; step < rules_.steps.size(); ++step) {
    next_words_.clear();
    for (const auto word : words_) take_step(step, word);
    std::swap(words_, next_words_);
  }
  for (const auto word : words_) pieces_.push_back({word, -1});
}

void TokenizerWords::cut_valid(std::string_view text) {
  find_added(text, plain_, parts_);
  for (const auto& part : parts_) {
    if (part.token >= 0) {
      pieces_.push_back(part);
      continue;
    }
    const bool normal =
        rules_.normalization == TokenizerRules::Normalization::kNone || is_ascii(part.text);
    find_added(normal ? part.text : own(normalized_text(part.text, rules_.normalization)),
               normalized_, inner_);
    for (const auto& piece : inner_) {
      if (piece.token >= 0) {
        pieces_.push_back(piece);
      } else {
        cut_words(piece.text);
      }
    }
  }
}

const std::vector<TokenizerWords::Piece>& TokenizerWords::cut(std::string_view text) {
  pieces_.clear();
  texts_.clear();
  while (!text.empty()) {
    uint32_t code = 0;
    size_t end = 0;
    for (int length = 0; end < text.size(); end += static_cast<size_t>(length)) {
      length = utf8_character(text, end, code);
      if (length == 0) break;
    }
    if (end > 0) cut_valid(text.substr(0, end));
    text.remove_prefix(end);
    end = 0;
    while (end < text.size() && utf8_character(text, end, code) == 0) ++end;
    if (end > 0) pieces_.push_back({text.substr(0, end), -1});
    text.remove_prefix(end);
  }
  return pieces_;
}

}  // namespace evomoe
