#pragma once

#include <cstdint>
#include <string>

namespace evomoe {

/// A number of bytes as a person writes it: a number above 0, which may have a fraction, and K, M,
/// G or T for powers of 1024 (8G, 512m, 1.5 GiB); without a letter bytes. UsageError that names
/// `option` and what is allowed for anything else.
int64_t parse_byte_size(const std::string& text, const std::string& option);

/// 1536 -> "1.50 KiB", 3.2e9 -> "2.98 GiB"
std::string byte_size_text(int64_t bytes);

}  // namespace evomoe
