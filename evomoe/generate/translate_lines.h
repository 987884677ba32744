#pragma once

#include <iosfwd>

#include "evomoe/config/options.h"
#include "evomoe/generate/generation_model.h"
#include "evomoe/text/text_lines.h"

namespace evomoe {

/// Translates the lines of `in` and writes fairseq-interactive's lines to `out`, in the order of
/// the input; `--buffer-size` lines are read at a time. A line that is longer than the model reads
/// is left out with a warning, as asked (its number is, too), or an Error; before an Error, what
/// was translated is written.
void translate_lines(const GenerationModel& model, const InteractiveOptions& flags, LineReader& in,
                     std::ostream& out);

}  // namespace evomoe
