#pragma once

#include <iosfwd>

#include "evomoe/cli/generation_model.h"
#include "evomoe/config/options.h"

namespace evomoe {

/// Translates the lines of `in` and writes fairseq-interactive's lines to `out`, in the order of
/// the input; `--buffer-size` lines are read at a time.
void translate_lines(const GenerationModel& model, const InteractiveOptions& flags,
                     std::istream& in, std::ostream& out);

}  // namespace evomoe
