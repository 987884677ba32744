#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "evomoe/train/options.h"

/// Checks of options that several tasks have.
namespace evomoe {

/// Refuses a --tokens-per-sample of more than `positions`, which `option` gives.
void require_positions(const TrainOptions& options, const std::optional<int64_t>& positions,
                       const std::string& option);

/// Refuses a --max-tokens into which not even one block of running text fits.
void require_whole_blocks(const TrainOptions& options);

}  // namespace evomoe
