#include "evomoe/train/search_options.h"

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"

namespace evomoe {

void BeamOptions::describe(OptionTable& table) {
  table.add("beam", &beam, "Hypotheses that are kept at each step.").range(1, 1 << 16);
  table
      .add("max-len-a", &max_len_a,
           "Most tokens of a hypothesis: this times the source's tokens + --max-len-b.")
      .at_least(0);
  table.add("lenpen", &lenpen,
            "Scores are divided by length ^ this: values below 1 favour short hypotheses, above "
            "1 long ones.");
  table.add("unkpen", &unkpen, "Subtracted from the score for each unknown word.");
  table.add("unnormalized", &unnormalized, "Scores are not divided by the length.");
  table
      .add("no-repeat-ngram-size", &no_repeat_ngram_size,
           "No sequence of this many tokens appears twice in a hypothesis; 0: no limit.")
      .at_least(0);
}

void SamplingOptions::describe(OptionTable& table, const SamplingHelp& help) {
  table.add("sampling", &sampling, help.sampling);
  table
      .add("temperature", &temperature,
           "Temperature of the distribution of tokens; below 1: "
           "probable tokens become more probable.")
      .above(0);
  table.add("sampling-topk", &sampling_topk, help.top_k).at_least(-1);
  table
      .add("sampling-topp", &sampling_topp,
           "Samples from the most probable tokens that have this share of the probability together "
           "(of what --sampling-topk leaves: both hold); below 0: from all.")
      .range(-1, 1);
}

bool SamplingOptions::is_filtered() const {
  return sampling_topk.value_or(-1) != -1 || sampling_topp >= 0;
}

void SamplingOptions::validate(bool samples) const {
  if (sampling_topk == 0)
    fail_usage("--sampling-topk 0 leaves no token; use -1 for all, or at least 1");
  if (sampling_topp == 0)
    fail_usage("--sampling-topp 0 leaves no token; use -1 for all, or more than 0");
  if (is_filtered() && !sampling.value_or(samples)) {
    fail_usage(
        "--sampling-topk and --sampling-topp need --sampling; without it the most probable token "
        "is taken");
  }
}

void BleuSearch::describe(OptionTable& table) {
  search.describe(table);
  table.add("max-len-b", &max_len, "").at_least(1);
  table.add("min-len", &min_len, "").at_least(0);
  SamplingOptions::describe(table);
}

void validate_lengths(const BeamOptions& search, int64_t min_len, int64_t max_len,
                      const char* max_option) {
  if (search.max_len_a == 0 && min_len > max_len)
    fail_usage("--min-len {} is more than {} {}", min_len, max_option, max_len);
}

Option& add_post_process(OptionTable& table, const std::string& name,
                         std::optional<std::string>& target, const std::string& help) {
  return table.add(name, &target, help + "; without a value: subword_nmt.")
      .choices({"subword_nmt", "@@ ", "@@", "sentencepiece", "wordpiece", "letter", "_EOW",
                "silence", "none"})
      .bare("subword_nmt");
}

}  // namespace evomoe
