#pragma once

#include "evomoe/train/options.h"

namespace evomoe {

/// As the others of config/validate_options.h: combinations of a run's options that cannot work.
void validate_options(const TrainOptions& options);

}  // namespace evomoe
