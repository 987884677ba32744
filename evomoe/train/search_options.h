#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace evomoe {

class Option;
class OptionTable;

/// How hypotheses are scored and kept, of `generate`, `interactive` and --eval-bleu.
struct BeamOptions {
  int64_t beam = 5;
  double max_len_a = 0.0;  ///< most tokens: max_len_a * source tokens + max_len
  double lenpen = 1.0;
  double unkpen = 0.0;
  bool unnormalized = false;  ///< scores are not divided by the length
  int64_t no_repeat_ngram_size = 0;

  void describe(OptionTable& table);
  bool operator==(const BeamOptions&) const = default;
};

/// What the help says of sampling, which prompts do otherwise than searches.
struct SamplingHelp {
  std::string sampling = "Samples instead of taking the most probable tokens.";
  std::string top_k = "Samples from this number of most probable tokens; -1: from all.";
};

/// How a token is chosen.
struct SamplingOptions {
  std::optional<bool> sampling;  ///< not given: prompts of a model of running text
  double temperature = 1.0;
  std::optional<int64_t> sampling_topk;  ///< -1: all; not given: 50, of a search all
  double sampling_topp = -1.0;           ///< -1: all

  void describe(OptionTable& table, const SamplingHelp& help = {});
  /// Whether improbable tokens are left out.
  bool is_filtered() const;
  /// UsageError: no token would be left, or tokens are left out (is_filtered()) without sampling.
  /// `samples`: whether it is done where `sampling` is not given.
  void validate(bool samples) const;
};

/// The search of --eval-bleu-args.
struct BleuSearch : SamplingOptions {
  BeamOptions search;
  int64_t max_len = 200;
  std::optional<int64_t> min_len;

  void describe(OptionTable& table);
};

/// UsageError: a text cannot have `min_len` tokens.
void validate_lengths(const BeamOptions& search, int64_t min_len, int64_t max_len,
                      const char* max_option);

/// Adds the option `name`, which says how subwords are joined to words: subword_nmt (or the joint,
/// `@@ `) | sentencepiece | wordpiece | letter | none.
Option& add_post_process(OptionTable& table, const std::string& name,
                         std::optional<std::string>& target, const std::string& help);

}  // namespace evomoe
