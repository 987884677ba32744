#include "evomoe/text/symbol_counts.h"

#include <algorithm>
#include <string>
#include <utility>

#include "evomoe/text/text_lines.h"

namespace evomoe {

void SymbolCounts::add_words_of(std::string_view text) {
  for_each_word(text, [&](std::string_view word) {
    const auto found = words_.find(word);
    if (found != words_.end()) {
      ++found->second;
    } else {
      words_.emplace(word, 1);
    }
  });
}

void SymbolCounts::add_ids(const std::vector<int32_t>& ids) {
  for (const auto id : ids) ++id_count_[id];
}

void SymbolCounts::add(const SymbolCounts& other) {
  for (const auto& [word, count] : other.words_) words_[word] += count;
  for (size_t id = 0; id < id_count_.size(); ++id) id_count_[id] += other.id_count_[id];
}

Dictionary SymbolCounts::dictionary(int64_t ends) const {
  std::vector<std::pair<std::string, int64_t>> sorted(words_.begin(), words_.end());
  for (size_t id = 0; id < id_count_.size(); ++id) {
    if (id_count_[id] > 0) sorted.emplace_back(std::to_string(id), id_count_[id]);
  }
  std::sort(sorted.begin(), sorted.end());
  Dictionary dictionary;
  for (const auto& [symbol, count] : sorted) dictionary.add(symbol, count);
  dictionary.add("</s>", ends);
  return dictionary;
}

}  // namespace evomoe
