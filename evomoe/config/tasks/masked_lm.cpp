// masked_lm: some tokens of running text are hidden, and predicted from all others.
#include "evomoe/config/option_table.h"
#include "evomoe/config/task_declaration.h"

namespace evomoe {

void MaskedLmOptions::describe(OptionTable& table) {
  table.add("mask-prob", &mask_prob, "Share of the tokens to predict.").range(0, 1);
  table.add("leave-unmasked-prob", &leave_unmasked_prob, "Share of those that stay as they are.")
      .range(0, 1);
  table.add("random-token-prob", &random_token_prob, "Share of those that become another token.")
      .range(0, 1);
  table.add("freq-weighted-replacement", &freq_weighted_replacement,
            "Those other tokens are drawn in proportion to their frequency.");
  table.add("mask-whole-words", &mask_whole_words, "Masks all tokens of a word.");
  table
      .add("mask-multiple-length", &mask_multiple_length,
           "Tokens in a row that are masked together.")
      .at_least(1);
  table.add("mask-stdev", &mask_stdev, "Standard deviation of that length.").at_least(0);
}

TaskDeclaration masked_lm_task() {
  return {
      .name = "masked_lm",
      .family = "roberta",
      .samples = true,
      .blocks = true,
      .criterions = {"masked_lm", "moe_masked_lm", "masked_lm_gumbel"},
      .describe = [](OptionTable& table, TaskOptions& o) { o.MaskedLmOptions::describe(table); }};
}

}  // namespace evomoe
