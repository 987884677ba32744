#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace evomoe {

/// The words that sacreBLEU counts in a line: `13a` (mteval-v13a: punctuation is split off, with
/// care for numbers), `intl` (mteval-v14: by Unicode's classes), `char` (each character but white
/// space), `none` (what stands between white space). UsageError: another name. Error: `intl` and a
/// text that is not UTF-8.
std::vector<std::string> bleu_words(std::string_view line, const std::string& tokenizer);

/// Each character in lower case, by the C library's Unicode tables. Python's lower() differs in two
/// characters (İ, and Σ at the end of a word). What is not UTF-8 stays.
std::string lower_case(std::string_view text);

}  // namespace evomoe
