#pragma once

#include "evomoe/config/options.h"
#include "evomoe/generate/beam_search.h"

namespace evomoe {

/// What `generate` of a split (or --eval-bleu) and `interactive` search with.
BeamSearchOptions search_options(const GenerateOptions& flags);
BeamSearchOptions search_options(const InteractiveOptions& flags);

}  // namespace evomoe
