#pragma once

#include "evomoe/train/options.h"

namespace evomoe {

/// Refuses combinations of a run's options that cannot work, before any data is touched: a
/// UsageError names the options, their values and the remedy. What a room knows better
/// (architectures, routing methods, schedules) is check_settings()'s, and what needs the data is
/// checked where it is read.
void validate_options(const TrainOptions& options);

}  // namespace evomoe
