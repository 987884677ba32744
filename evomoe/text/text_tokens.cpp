#include "evomoe/text/text_tokens.h"

#include "evomoe/text/text_lines.h"

namespace evomoe {

int64_t text_token(std::string_view symbol, const Dictionary& dictionary) {
  const auto index = dictionary.index(symbol);
  if (index >= Dictionary::kSpecials) return index;
  // An id of a tokenizer may be that of a start or an end; others have no place in a text.
  const bool framing = index == Dictionary::kBos || index == Dictionary::kEos;
  return framing && symbol != dictionary.symbol(index) ? index : Dictionary::kUnk;
}

std::vector<int64_t> tokens_of_bpe_ids(const ByteBpe& bpe, const Dictionary& dictionary) {
  std::vector<int64_t> tokens;
  for (int64_t id = 0; id < bpe.size(); ++id)
    tokens.push_back(text_token(std::to_string(id), dictionary));
  return tokens;
}

std::vector<int64_t> text_tokens(std::string_view text, const Dictionary& dictionary,
                                 const ByteBpe* bpe) {
  std::vector<int64_t> tokens;
  const auto add = [&](std::string_view symbol) {
    tokens.push_back(text_token(symbol, dictionary));
  };
  if (bpe == nullptr) {
    for_each_word(text, add);
  } else {
    for (const auto id : bpe->encode(text)) add(std::to_string(id));
  }
  return tokens;
}

}  // namespace evomoe
