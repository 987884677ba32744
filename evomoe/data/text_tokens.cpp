#include "evomoe/data/text_tokens.h"

namespace evomoe {

std::vector<int64_t> text_tokens(std::string_view text, const Dictionary& dictionary,
                                 const ByteBpe* bpe) {
  if (bpe == nullptr) return dictionary.encode_line(text, /*append_eos=*/false);
  std::vector<int64_t> tokens;
  for (const auto id : bpe->encode(text)) tokens.push_back(dictionary.index(std::to_string(id)));
  return tokens;
}

}  // namespace evomoe
