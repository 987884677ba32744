#pragma once

#include <string>

#include "evomoe/config/options.h"

/// The JSON that the options of --eval-bleu hold. UsageError, with the flag: no JSON object, a key
/// that is none (the message lists those that are), a value that is not allowed.
namespace evomoe {

/// The search of --eval-bleu-args, as `generate` would be told it; what is not given has fairseq's
/// defaults, which are those of `generate`.
GenerateOptions bleu_search(const EvalBleuOptions& options);

/// The language of --eval-bleu-detok-args whose rules the detokenizer has.
std::string bleu_detokenizer_language(const EvalBleuOptions& options);

/// Refuses both, and a routing of the validation that does not translate.
void validate_bleu(const EvalBleuOptions& options, const std::string& validate_routing);

}  // namespace evomoe
