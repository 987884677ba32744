#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace evomoe {

/// A regular expression (ICU's) over Unicode's characters and their classes. `^` and `$` match at
/// the ends of the text.
class UnicodePattern {
 public:
  /// Error for what is no expression. `of_lines`: ^ and $ match at the ends of its lines, too.
  explicit UnicodePattern(const std::string& pattern, bool of_lines = false);
  ~UnicodePattern();
  UnicodePattern(const UnicodePattern&) = delete;
  UnicodePattern& operator=(const UnicodePattern&) = delete;

  /// Whether it matches somewhere in `text`. Nothing matches in what is not UTF-8.
  bool matches(std::string_view text) const;
  /// `text`, which must be UTF-8, with `replacement` for each match; $1 is the first group.
  std::string replace(std::string_view text, std::string_view replacement) const;

  /// A piece of a text, in bytes.
  struct Match {
    size_t begin = 0, end = 0;
  };
  class Finder;

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

/// Finds the matches of a pattern, which must outlive it, in one text after the other. Not safe to
/// share between threads.
class UnicodePattern::Finder {
 public:
  explicit Finder(const UnicodePattern& pattern);
  ~Finder();
  Finder(Finder&&) noexcept;

  /// All matches in `text`, which must be UTF-8, from left to right. Error where the expression
  /// needs more memory or time for one than it may have.
  const std::vector<Match>& find_all(std::string_view text);

 private:
  struct State;
  std::unique_ptr<State> state_;
  std::vector<Match> matches_;
};

}  // namespace evomoe
