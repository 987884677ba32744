#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "evomoe/text/unicode_pattern.h"

namespace evomoe {

/// What a tokenizer of Hugging Face (`tokenizer.json`) does with a text before the merges of its
/// byte-level BPE: tokens that stand for a piece of text are found, the text between is normalised
/// and cut into words, which merges never cross.
struct TokenizerRules {
  enum class Normalization { kNone, kNfc, kNfd, kNfkc, kNfkd };

  /// What becomes of the matches of a pattern (`behavior`).
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };

  /// A step of the cutting; each takes the words of the one before.
  struct Step {
    enum class Kind { kPattern, kDigits, kWords, kPrefixSpace };
    Kind kind = Kind::kWords;                       ///< kWords: as GPT-2 (BpeWords)
    std::shared_ptr<const UnicodePattern> pattern;  ///< kPattern
    Behavior behavior = Behavior::kIsolated;        ///< kPattern
    bool invert = false;                            ///< kPattern: what does not match is the match
    bool single_digits = false;                     ///< kDigits: each is a word
  };

  /// A token that is found in the text before anything else.
  struct AddedToken {
    int32_t id = -1;
    std::string text;
    bool special = false;
    bool single_word = false;  ///< only where no letter or digit stands beside it
    bool strip_left = false, strip_right = false;  ///< takes the white space there
    bool normalized = false;                       ///< is looked for in the normalised text
  };

  Normalization normalization = Normalization::kNone;
  std::vector<Step> steps;
  std::vector<AddedToken> added;
  bool special_as_text = false;   ///< special tokens are not looked for
  bool whole_words = false;       ///< a word that is a token is that token (`ignore_merges`)
  int32_t unknown = -1;           ///< token of bytes that have none; -1: they are left out
  bool joins_unknown = false;     ///< one for several in a row (`fuse_unk`)
  std::vector<int32_t> at_start;  ///< tokens that it puts before each text
};

/// `text`, which must be UTF-8, in a normal form of Unicode.
std::string normalized_text(std::string_view text, TokenizerRules::Normalization form);

/// Cuts texts by rules, which must outlive it. Not safe to share between threads.
class TokenizerWords {
 public:
  explicit TokenizerWords(const TokenizerRules& rules);

  struct Piece {
    std::string_view text;
    int32_t token = -1;  ///< an added one; -1: a word
  };

  /// The pieces of `text` in order, valid until the next call. A stretch that is no UTF-8 is a word
  /// of its own.
  const std::vector<Piece>& cut(std::string_view text);

 private:
  struct Sought {
    std::string text;
    const TokenizerRules::AddedToken* token;
  };
  using Table = std::array<std::vector<Sought>, 256>;  // by the first byte, the longest first

  static void find_added(std::string_view text, const Table& table, std::vector<Piece>& pieces);
  void cut_valid(std::string_view text);
  void cut_words(std::string_view text);
  void take_step(size_t step, std::string_view text);
  std::string_view own(std::string text) { return texts_.emplace_back(std::move(text)); }

  const TokenizerRules& rules_;
  Table plain_, normalized_;
  std::vector<std::optional<UnicodePattern::Finder>> finders_;  // by step
  std::deque<std::string> texts_;  // that are no part of the text given
  std::vector<Piece> pieces_, parts_, inner_;
  std::vector<std::string_view> words_, next_words_;
  std::vector<UnicodePattern::Match> digits_;
};

}  // namespace evomoe
