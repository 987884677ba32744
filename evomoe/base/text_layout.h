#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace evomoe {

/// Columns that UTF-8 text takes on a terminal: one per code point.
size_t terminal_columns(std::string_view text);

/// The words of `text`, one space between them, in lines of at most `width` columns. The first line
/// begins at column `indent`, the others with so many spaces. A longer word has a line of its own.
std::string wrap_words(const std::string& text, size_t width, size_t indent = 0);

}  // namespace evomoe
