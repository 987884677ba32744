#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace evomoe {

/// A regular expression (ICU's) over Unicode's characters and their classes.
class UnicodePattern {
 public:
  /// Error for what is no expression.
  explicit UnicodePattern(const char* pattern);
  ~UnicodePattern();
  UnicodePattern(const UnicodePattern&) = delete;
  UnicodePattern& operator=(const UnicodePattern&) = delete;

  /// Whether it matches somewhere in `text`. Nothing matches in what is not UTF-8.
  bool matches(std::string_view text) const;
  /// `text`, which must be UTF-8, with `replacement` for each match; $1 is the first group.
  std::string replace(std::string_view text, std::string_view replacement) const;

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

}  // namespace evomoe
