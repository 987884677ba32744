#pragma once

#include <string>

namespace evomoe {

class OptionTable;

// Flags of the reference's programs that have no counterpart here (legacy_flags.yaml): they are
// ignored with a notice or refused with a reason, so that old command lines go on working. To be
// added when a table has all else; what it has already is left out.

/// Those of preprocess and train.
void add_legacy_flags(OptionTable& table, const std::string& command);
/// Those of a command that reads a checkpoint: also what the checkpoint says, and what only
/// training uses. `train` is the table of training.
void add_legacy_flags(OptionTable& table, const std::string& command, const OptionTable& train);

}  // namespace evomoe
