#pragma once

#include "evomoe/config/options.h"

namespace evomoe {

class OptionTable;

// Each binds the options of a command that reads a checkpoint to the table, which they must
// outlive. The flags of training are ignored with a notice, since the reference's scripts give them
// here too.
void describe_validate(OptionTable& table, EvalOptions& options);
void describe_eval_lm(OptionTable& table, EvalOptions& options);
void describe(OptionTable& table, GenerateOptions& options);
void describe(OptionTable& table, InteractiveOptions& options);

}  // namespace evomoe
