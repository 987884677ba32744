#pragma once

#include <cstdint>
#include <string_view>

#include "evomoe/text/bpe_words.h"
#include "evomoe/text/byte_bpe.h"
#include "evomoe/text/text_lines.h"

namespace evomoe::testing {

/// The BPE that `evomoe bpe train` learns from a file of `text`.
inline ByteBpe learn_bpe(std::string_view text, int64_t vocab_size) {
  BpeWordCounts counts;
  for_each_line(text, [&](std::string_view line) { count_bpe_words(strip(line), counts); });
  return ByteBpe::train(counts, vocab_size);
}

}  // namespace evomoe::testing
