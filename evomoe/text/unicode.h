#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// Unicode's classes and cases, by ICU.
namespace evomoe {

/// The version of Unicode whose characters are known, such as "15.0". A character of a later one
/// counts as unassigned: neither letter nor number, and without case.
std::string unicode_version();

/// \p{L} and \p{N} of regular expressions.
bool is_letter(uint32_t code);
bool is_number(uint32_t code);

/// Lower case as Python's str.lower() makes it, by Unicode's full mappings: what becomes of a
/// character may depend on its neighbours (Σ at the end of a word is ς) and be several (İ). What
/// is not UTF-8 becomes U+FFFD.
std::string lower_case(std::string_view text);

/// `text` with U+FFFD for each piece that is not UTF-8, as Python decodes with errors="replace".
std::string valid_utf8(std::string_view text);

}  // namespace evomoe
