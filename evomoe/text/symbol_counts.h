#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "evomoe/text/dictionary.h"

namespace evomoe {

/// How often each symbol occurs: words, or the ids of a BPE. Of pieces of a text each is counted
/// for itself, and they are then added up.
class SymbolCounts {
 public:
  /// `bpe_size`: the ids that there are; 0: words.
  explicit SymbolCounts(int64_t bpe_size = 0) : id_count_(bpe_size) {}

  void add_words_of(std::string_view text);
  void add_ids(const std::vector<int32_t>& ids);
  void add(const SymbolCounts& other);

  /// The symbols in alphabetical order, and </s> `ends` times: once for each text. Not yet sorted
  /// by count or cut: see Dictionary::finalize().
  Dictionary dictionary(int64_t ends) const;

 private:
  StringMap<int64_t> words_;
  std::vector<int64_t> id_count_;
};

}  // namespace evomoe
