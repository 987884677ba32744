#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "evomoe/text/dictionary.h"
#include "evomoe/text/tokenizer_rules.h"

namespace evomoe {

/// What a `tokenizer.json`, whose tokens have the ids `id_of`, says of texts; all but its added
/// tokens. Every field is read or must be off: what is passed over would change the ids. Error,
/// which names the file, for parts that are not those of a byte-level BPE.
TokenizerRules tokenizer_rules(const nlohmann::json& file, const std::string& name,
                               const StringMap<int32_t>& id_of);

}  // namespace evomoe
