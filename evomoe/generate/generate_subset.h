#pragma once

#include <iosfwd>
#include <string>

#include "evomoe/data/dataset.h"
#include "evomoe/generate/generate_options.h"
#include "evomoe/generate/generation_model.h"
#include "evomoe/parallel/communicator.h"

namespace evomoe {

/// Translates all items of `dataset`, which is the split `subset`, in the order of its batches, and
/// writes fairseq-generate's lines to `out`; the last one is the BLEU, where there are references:
/// `Generate test with beam=5: BLEU4 = ...`. What was done in which time goes to the log. The ranks
/// take turns with the batches, which do not depend on their number; rank 0 writes.
void generate_subset(const GenerationModel& model, const Dataset& dataset,
                     const std::string& subset, const GenerateOptions& flags, std::ostream& out,
                     Communicator& communicator);

}  // namespace evomoe
