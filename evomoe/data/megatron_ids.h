#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "evomoe/text/dictionary.h"

namespace evomoe {

/// What is written for the tokens of a dictionary into a Megatron dataset, which knows no
/// dictionary: the numbers that their symbols are, as for a dictionary over BPE text.
struct MegatronIds {
  std::vector<int64_t> of_token;  ///< -1: there is none
  int64_t vocabulary = 0;         ///< above all of them

  /// `eod`: what </s> becomes; nothing: it is left out. An Error when no symbol is a number.
  MegatronIds(const Dictionary& dictionary, std::optional<int64_t> eod);
  /// An Error for a token that has none.
  int64_t of(int64_t token, const Dictionary& dictionary) const;
};

}  // namespace evomoe
