#pragma once

#include <cstdint>

#include "evomoe/generate/beam_search.h"
#include "evomoe/train/search_options.h"

namespace evomoe {

/// What a search is told, with the defaults of what is not given. UsageError as
/// BeamSearchOptions::validate().
BeamSearchOptions search_options(const BeamOptions& beam, const SamplingOptions& sampling,
                                 int64_t min_len, int64_t max_len, int64_t seed);

}  // namespace evomoe
