#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "evomoe/train/model_options.h"
#include "evomoe/train/options.h"

/// From the user's words to the options of each room.
namespace evomoe {

/// All that can be refused without the data, as the rooms refuse it: a UsageError names an unknown
/// architecture, dimensions that do not go together, a learning-rate schedule, an evolution or an
/// operator that cannot be, and what check_router() refuses. To be called once a run, before any
/// data is opened: what is given without effect is logged.
void check_settings(const TrainOptions& options);

/// Makes the router and throws it away: a UsageError names an unknown --moe-router, an option of
/// our own that it does not use or any that it cannot take, or a method that cannot follow a
/// shared-expert stage. Logs in one line the flags of the reference that have no effect: those that
/// the method does not use, or in a dense model those of experts and their evolution.
void check_router(const TrainOptions& options);

/// `auto` is CUDA when there is a device, else the CPU; also sets the number of threads. Throws
/// when CUDA is asked for and missing.
torch::Device use_device(const CommonOptions& options);

}  // namespace evomoe
