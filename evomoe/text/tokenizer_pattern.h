#pragma once

#include <string>
#include <string_view>

namespace evomoe {

/// A regular expression of Oniguruma, as tokenizers has them, in ICU's words: white space and word
/// characters are Unicode's in both. Error for what means another thing there, such as \h.
std::string icu_pattern(std::string_view oniguruma);

/// The expression that matches `text` alone.
std::string pattern_of_text(std::string_view text);

}  // namespace evomoe
