#include "evomoe/data/megatron_ids.h"

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/text/byte_bpe.h"

namespace evomoe {

MegatronIds::MegatronIds(const Dictionary& dictionary, std::optional<int64_t> eod)
    : of_token(dictionary.size(), -1) {
  for (int64_t token = Dictionary::kSpecials; token < dictionary.size(); ++token) {
    const auto id = bpe_token_of(dictionary.symbol(token));
    if (!id) continue;
    of_token[token] = *id;
    vocabulary = std::max<int64_t>(vocabulary, *id + 1);
  }
  EVOMOE_CHECK(vocabulary > 0,
               "--output-format megatron writes the numbers that a BPE gives, and the symbols of "
               "this dictionary are words; give --bpe, or a dictionary of numbers by --srcdict");
  if (!eod) return;
  of_token[Dictionary::kEos] = *eod;
  vocabulary = std::max(vocabulary, *eod + 1);
}

int64_t MegatronIds::of(int64_t token, const Dictionary& dictionary) const {
  EVOMOE_CHECK(of_token[token] >= 0,
               "the text has the symbol {}, which is no number that --output-format megatron could "
               "write; give --bpe, and a dictionary of all its symbols (without --nwordssrc and "
               "--thresholdsrc)",
               dictionary.symbol(token));
  return of_token[token];
}

}  // namespace evomoe
