#pragma once

#include <cstdint>
#include <string>

namespace evomoe {

class OptionTable;

/// `evomoe score --sys FILE --ref FILE`.
struct ScoreOptions {
  std::string sys = "-";  ///< file of translations, one a line; - is stdin
  std::string ref;
  int64_t order = 4;
  bool ignore_case = false;
  bool sacrebleu = false;
  std::string sacrebleu_tokenizer = "13a";
  bool sentence_bleu = false;

  void describe(OptionTable& table);
};

/// Refuses what does not go together: a UsageError.
void validate_options(const ScoreOptions& options);

}  // namespace evomoe
