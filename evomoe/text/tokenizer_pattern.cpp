#include "evomoe/text/tokenizer_pattern.h"

#include "evomoe/base/error.h"

namespace evomoe {

std::string icu_pattern(std::string_view oniguruma) {
  constexpr std::string_view kOthers = "bBGhHKNOpPRXyY";  // of another meaning, or in one only
  std::string pattern;
  for (size_t at = 0; at < oniguruma.size(); ++at) {
    const char c = oniguruma[at];
    if (c == '(' && oniguruma.substr(at).starts_with("(?")) {
      // Options: of Ruby's, only i is the same. Groups that look ahead or behind are.
      for (size_t flag = at + 2; flag < oniguruma.size(); ++flag) {
        const char letter = oniguruma[flag];
        const bool is_letter = letter >= 'a' && letter <= 'z';
        if (!is_letter && letter != '-') break;
        EVOMOE_CHECK(letter == 'i' || letter == '-',
                     "the pattern `{}` has the option `{}`, which means another thing here",
                     oniguruma, letter);
      }
    }
    if (c != '\\' || at + 1 == oniguruma.size()) {
      pattern += c;
      continue;
    }
    const char escaped = oniguruma[++at];
    const bool is_class = (escaped == 'p' || escaped == 'P') &&
                          oniguruma.substr(at + 1).starts_with('{') &&
                          !oniguruma.substr(at + 1).starts_with("{^");
    EVOMOE_CHECK(is_class || kOthers.find(escaped) == std::string_view::npos,
                 "the pattern `{}` has `\\{}`, which is not known here", oniguruma, escaped);
    switch (escaped) {
      case 's':
        pattern += R"(\p{White_Space})";
        break;
      case 'S':
        pattern += R"(\P{White_Space})";
        break;
      case 'w':
        pattern += R"([\p{L}\p{M}\p{N}\p{Pc}])";
        break;
      case 'W':
        pattern += R"([^\p{L}\p{M}\p{N}\p{Pc}])";
        break;
      default:
        pattern += {'\\', escaped};
    }
  }
  return pattern;
}

std::string pattern_of_text(std::string_view text) {
  std::string pattern;
  for (const char c : text) {
    const bool ascii = static_cast<unsigned char>(c) < 0x80;
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (ascii && !plain) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

}  // namespace evomoe
