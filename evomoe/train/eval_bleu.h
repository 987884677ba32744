#pragma once

#include <optional>
#include <string>

#include "evomoe/train/search_options.h"

namespace evomoe {

/// BLEU of translations in a validation.
struct EvalBleuOptions {
  bool eval_bleu = false;
  std::string eval_bleu_args = "{}";        ///< JSON, what the search is told
  std::string eval_bleu_detok = "space";    ///< space (none) | moses | nltk (none, as in fairseq)
  std::string eval_bleu_detok_args = "{}";  ///< JSON
  bool eval_tokenized_bleu = false;         ///< of words between white space, not of 13a's
  std::optional<std::string> eval_bleu_remove_bpe;  ///< as --post-process
  bool eval_bleu_print_samples = false;

  void describe(OptionTable& table);
  bool operator==(const EvalBleuOptions&) const = default;
};

// The JSON that these options hold. UsageError, with the flag: no JSON object, a key that is none
// (the message lists those that are), a value that is not allowed.

/// The search of --eval-bleu-args; what is not given has the defaults of fairseq and `generate`.
BleuSearch bleu_search(const EvalBleuOptions& options);

/// The language of --eval-bleu-detok-args whose rules the detokenizer has.
std::string bleu_detokenizer_language(const EvalBleuOptions& options);

/// Refuses both, and a routing of the validation that does not translate.
void validate_bleu(const EvalBleuOptions& options, const std::string& validate_routing);

}  // namespace evomoe
