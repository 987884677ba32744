#include "evomoe/text/text_lines.h"

#include <algorithm>
#include <fstream>
#include <iostream>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"

namespace evomoe {

int utf8_character(std::string_view text, size_t at, uint32_t& code) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0};
  };
  const auto follows = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const uint8_t first = byte(at);
  if (at >= text.size()) return 0;
  if (first < 0x80) {
    code = first;
    return 1;
  }
  if (first >= 0xC2 && first <= 0xDF && follows(at + 1)) {
    code = (first & 0x1Fu) << 6 | (byte(at + 1) & 0x3Fu);
    return 2;
  }
  if ((first & 0xF0) == 0xE0 && follows(at + 1) && follows(at + 2)) {
    code = (first & 0x0Fu) << 12 | (byte(at + 1) & 0x3Fu) << 6 | (byte(at + 2) & 0x3Fu);
    return code >= 0x800 && (code < 0xD800 || code > 0xDFFF) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4 && follows(at + 1) && follows(at + 2) && follows(at + 3)) {
    code = (first & 0x07u) << 18 | (byte(at + 1) & 0x3Fu) << 12 | (byte(at + 2) & 0x3Fu) << 6 |
           (byte(at + 3) & 0x3Fu);
    return code >= 0x10000 && code <= 0x10FFFF ? 4 : 0;
  }
  return 0;
}

bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    if (static_cast<uint8_t>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    uint32_t code = 0;
    const int length = utf8_character(text, at, code);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

bool is_white_space(uint32_t code) {
  if (code <= 0x20) return code == 0x20 || (code >= 0x09 && code <= 0x0D) || code >= 0x1C;
  if (code < 0x80) return false;
  return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
         code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

std::string_view strip_end(std::string_view text) {
  uint32_t code = 0;
  while (!text.empty()) {
    size_t at = text.size() - 1;
    while (at > 0 && text.size() - at < 4 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
    const int length = utf8_character(text, at, code);
    if (length != static_cast<int>(text.size() - at) || !is_white_space(code)) break;
    text.remove_suffix(length);
  }
  return text;
}

std::string_view strip(std::string_view text) {
  uint32_t code = 0;
  while (!text.empty()) {
    const int length = utf8_character(text, 0, code);
    if (length == 0 || !is_white_space(code)) break;
    text.remove_prefix(length);
  }
  return strip_end(text);
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

void for_each_word(std::string_view line, const std::function<void(std::string_view)>& word) {
  size_t begin = 0;
  for (size_t at = 0; at < line.size();) {
    uint32_t code = static_cast<uint8_t>(line[at]);
    int length = 1;
    if (code >= 0x80) length = std::max(1, utf8_character(line, at, code));
    if (is_white_space(code)) {
      if (at > begin) word(line.substr(begin, at - begin));
      begin = at + length;
    }
    at += length;
  }
  if (begin < line.size()) word(line.substr(begin));
}

void for_each_line(std::string_view text, const std::function<void(std::string_view)>& line) {
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find_first_of("\n\r", begin), text.size());
    line(text.substr(begin, end - begin));
    begin = end + 1;
    if (end + 1 < text.size() && text[end] == '\r' && text[end + 1] == '\n') ++begin;
  }
}

std::string not_utf8(const std::string& where) { return where + ": " + kNotUtf8; }

void require_utf8(std::string_view line, const std::string& where) {
  EVOMOE_CHECK(is_utf8(line), "{}", not_utf8(where));
}

void warn_of_byte_order_mark(std::string_view text, const std::string& name) {
  if (!text.starts_with("\uFEFF")) return;
  log().warn(
      "{}: it begins with a byte order mark, which is read as a character of its first word, as in "
      "fairseq; `sed -i '1s/^\\xEF\\xBB\\xBF//'` takes it away",
      name);
}

LineReader::LineReader(const std::string& name, const std::string& path)
    : file_(path == "-" ? nullptr : std::make_unique<std::ifstream>(path, std::ios::binary)),
      stream_(file_ ? *file_ : std::cin),
      name_(path == "-" ? "stdin" : path) {
  EVOMOE_CHECK(path == "-" || (*file_ && !std::filesystem::is_directory(path)),
               "--{} {}: the file cannot be read; check the path", name, path);
}

LineReader::LineReader(std::istream& stream, std::string name)
    : stream_(stream), name_(std::move(name)) {}

LineReader::~LineReader() = default;

bool LineReader::next(std::string& line) {
  using Traits = std::char_traits<char>;
  line.clear();
  auto c = stream_.get();
  if (after_return_ && c == '\n') c = stream_.get();
  after_return_ = false;
  if (c == Traits::eof()) {
    EVOMOE_CHECK(!stream_.bad(), "{}: it cannot be read beyond line {}", name_, number_);
    return false;
  }
  for (; c != Traits::eof() && c != '\n' && c != '\r'; c = stream_.get())
    line += Traits::to_char_type(c);
  EVOMOE_CHECK(!stream_.bad(), "{}: it cannot be read beyond line {}", name_, number_);
  after_return_ = c == '\r';
  if (++number_ == 1) warn_of_byte_order_mark(line, name_);
  return true;
}

std::string LineReader::where() const { return fmt::format("{}:{}", name_, number_); }

}  // namespace evomoe
