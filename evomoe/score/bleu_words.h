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

}  // namespace evomoe
