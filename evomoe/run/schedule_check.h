#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/data/epoch_iterator.h"
#include "evomoe/train/options.h"

namespace evomoe {

/// Updates that a run which goes on in epoch `epoch`, behind `offset`
/// micro-batches, after `updates` updates makes if nothing ends it
/// early; nothing when no option says so.
std::optional<int64_t> updates_ahead(const TrainOptions& options, EpochIterator& batches,
                                     int64_t epoch, int64_t offset, int64_t updates);

/// Which schedules of the options do not fit a run that ends after `updates` updates, and what to
/// do: one sentence each. They are allowed (a run may be a part of a longer one), but rarely meant.
std::vector<std::string> unfit_schedules(const TrainOptions& options, int64_t updates);

}  // namespace evomoe
