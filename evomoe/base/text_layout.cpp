#include "evomoe/base/text_layout.h"

#include <algorithm>
#include <sstream>

namespace evomoe {

size_t terminal_columns(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](unsigned char c) { return (c & 0xC0) != 0x80; }));
}

std::string wrap_words(const std::string& text, size_t width, size_t indent) {
  std::istringstream words(text);
  std::string result, word;
  size_t column = indent;
  while (words >> word) {
    const size_t columns = terminal_columns(word);
    if (column > indent && column + 1 + columns > width) {
      result += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      result += " ";
      ++column;
    }
    result += word;
    column += columns;
  }
  return result;
}

}  // namespace evomoe
