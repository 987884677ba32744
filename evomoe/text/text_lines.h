#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>

#include "evomoe/base/mapped_file.h"

namespace evomoe {

/// Length of the UTF-8 character at text[at], or 0 when there is none (invalid bytes, overlong
/// forms, surrogates). `code` gets the code point.
int utf8_character(std::string_view text, size_t at, uint32_t& code);

/// Whether all of `text` is UTF-8.
bool is_utf8(std::string_view text);

/// What Python's str.isspace() calls white space.
bool is_white_space(uint32_t code);

/// `text` without white space at its end.
std::string_view strip_end(std::string_view text);

/// `text` without white space at both ends.
std::string_view strip(std::string_view text);

/// `text` with `to` in place of each `from`.
std::string replaced(std::string text, std::string_view from, std::string_view to);

/// Calls `word` for each piece between white space.
void for_each_word(std::string_view line, const std::function<void(std::string_view)>& word);

/// Calls `line` for each line, without its end: \n, \r\n or \r, as Python reads text. LineReader
/// does the same with a stream.
void for_each_line(std::string_view text, const std::function<void(std::string_view)>& line);

/// Why a line that is not UTF-8 is refused, and how it is converted.
inline constexpr const char* kNotUtf8 =
    "not UTF-8; convert the file, by its encoding (`iconv -f latin1 -t UTF-8`)";

/// The same with the line's place, `where` (`FILE:3`).
std::string not_utf8(const std::string& where);

/// Error for such a line.
void require_utf8(std::string_view line, const std::string& where);

/// A warning for a text that begins with a byte order mark: as in fairseq that is a character of
/// its first word.
void warn_of_byte_order_mark(std::string_view text, const std::string& name);

/// The lines of a stream or a file by the rules of for_each_line, each as soon as its end is there.
class LineReader {
 public:
  /// Of the file that the option `--name` gives as `path`; `-`: stdin. Error for one that cannot be
  /// read.
  LineReader(const std::string& name, const std::string& path);
  /// Of a stream, which must outlive it; `name`: what messages call it.
  LineReader(std::istream& stream, std::string name);
  ~LineReader();

  /// The next line, without its end; false behind the last one.
  bool next(std::string& line);
  int64_t number() const { return number_; }  ///< of the last line, from 1
  std::string where() const;                  ///< the place of the last line: `news.de:3`

 private:
  std::unique_ptr<std::istream> file_;
  std::istream& stream_;
  std::string name_;
  int64_t number_ = 0;
  bool after_return_ = false;  ///< a \n that follows belongs to the end of the last line
};

}  // namespace evomoe
