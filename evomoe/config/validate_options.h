#pragma once

#include "evomoe/config/options.h"

namespace evomoe {

/// Refuses combinations of options that cannot work, before any data is touched. Throws UsageError
/// naming the options, their values and the remedy. What needs the model or the data (adaptive
/// architectures, missing files) is checked where they are read.
void validate_options(const TrainOptions& options);
void validate_options(const EvalOptions& options);
void validate_options(const GenerateOptions& options);
void validate_options(const PreprocessFlags& options);
void validate_options(const BpeFlags& options);

}  // namespace evomoe
