#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "evomoe/text/byte_bpe.h"
#include "evomoe/text/dictionary.h"

namespace evomoe {

/// The token of a symbol of a text. A text that spells <s>, <pad> or </s> has none of these: they
/// are unknown words to it. An id of a tokenizer that means <s> or </s> (special_ids()) does.
int64_t text_token(std::string_view symbol, const Dictionary& dictionary);

/// The token of each id of a BPE: the symbols of a dictionary over BPE text are the decimal ids.
std::vector<int64_t> tokens_of_bpe_ids(const ByteBpe& bpe, const Dictionary& dictionary);

/// The tokens of a whole text, without an </s>: by the BPE, for which an end of line is a byte like
/// any other; without one (null) the words between white space.
std::vector<int64_t> text_tokens(std::string_view text, const Dictionary& dictionary,
                                 const ByteBpe* bpe);

}  // namespace evomoe
