#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "evomoe/train/options.h"

namespace evomoe {

/// Which schedules of the options do not fit a run that ends after `updates` updates, and what to
/// do: one sentence each. They are allowed (a run may be a part of a longer one), but rarely meant.
std::vector<std::string> unfit_schedules(const TrainOptions& options, int64_t updates);

}  // namespace evomoe
