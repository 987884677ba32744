#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "evomoe/text/byte_alphabet.h"

namespace evomoe::testing {

/// The smallest tokenizer.json: 256 tokens, whose ids are their bytes, and no merges.
inline nlohmann::json small_tokenizer() {
  nlohmann::json tokenizer;
  tokenizer["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  tokenizer["decoder"] = {{"type", "ByteLevel"}};
  tokenizer["added_tokens"] = nlohmann::json::array();
  auto& model = tokenizer["model"] = {{"type", "BPE"}};
  for (int byte = 0; byte < 256; ++byte)
    model["vocab"][spell_bytes(std::string(1, static_cast<char>(byte)))] = byte;
  model["merges"] = nlohmann::json::array();
  return tokenizer;
}

}  // namespace evomoe::testing
