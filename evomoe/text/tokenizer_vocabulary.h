#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evomoe/text/dictionary.h"
#include "evomoe/text/tokenizer_rules.h"

namespace evomoe {

/// The tokens of a `tokenizer.json`.
struct TokenizerVocabulary {
  StringMap<int32_t> id_of;        ///< by spelling, the added ones by their text
  std::vector<std::string> bytes;  ///< by id; of an id that no token has empty
  std::vector<TokenizerRules::AddedToken> added;
};

/// Reads them. Error, which names the file `name`, for ids that are none or that two tokens have,
/// and for properties of added tokens that are not known.
TokenizerVocabulary tokenizer_vocabulary(const nlohmann::json& file, const std::string& name);

}  // namespace evomoe
