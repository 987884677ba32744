#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "evomoe/text/byte_bpe.h"
#include "evomoe/text/dictionary.h"

/// From the tokens of a model to text.
namespace evomoe {

/// The symbols of `tokens` joined by spaces, without starts and ends of sentences and padding, and
/// then by join_subwords(). `unknown`: what stands for the unknown symbol, so that a reference's
/// can differ from a hypothesis's.
std::string symbol_text(const Dictionary& dictionary, const std::vector<int64_t>& tokens,
                        const std::optional<std::string>& post_process,
                        std::string_view unknown = "<unk>");

/// Joins subwords: `subword_nmt` (or `@@ `), `sentencepiece`, `wordpiece`, `letter`, `_EOW`,
/// `silence`, `none`. UsageError: another name.
std::string join_subwords(std::string_view text, const std::string& how);

/// Symbols as text: by the BPE, if there is one (what is none of its tokens is left out). Bytes
/// that make no character become U+FFFD.
std::string decoded_text(const ByteBpe* bpe, const std::string& symbols);

}  // namespace evomoe
