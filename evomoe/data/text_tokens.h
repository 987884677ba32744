#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "evomoe/data/byte_bpe.h"
#include "evomoe/data/dictionary.h"

namespace evomoe {

/// The tokens of a whole text, without an </s>: by the BPE, for which an end of line is a byte like
/// any other; without one (null) the words between white space.
std::vector<int64_t> text_tokens(std::string_view text, const Dictionary& dictionary,
                                 const ByteBpe* bpe);

}  // namespace evomoe
