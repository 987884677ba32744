#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "evomoe/loading/loaded_model.h"

namespace evomoe {

/// Which tokens of the validation data `subset` a model's routers send to which expert: about
/// `tokens` of them are routed, as in a validation. For the page of a report:
///
///   {"subset", "tokens", "update",
///    "text": [...],        the first tokens as text
///    "begins": [...],      of which these begin a sequence
///    "layers": [{"layer", "experts",
///                "route": [[[expert, weight], ...], ...],   of each token of the text
///                "typical": [[[token, count, share], ...], ...]}]}  of each expert
///
/// `typical`: tokens that go to the expert more often than all tokens together do; `share`: how
/// much of this token's assignments are to the expert. Of many layers, kLayersShown evenly spread
/// ones are told of.
///
/// Errors: an encoder-decoder, a model in the shared-expert stage, data that is not there.
nlohmann::ordered_json token_routes(const LoadedModel& loaded, const std::string& subset,
                                    int64_t tokens);

inline constexpr size_t kLayersShown = 8;

}  // namespace evomoe
