#include "evomoe/train/criterion_options.h"

#include "evomoe/config/option_table.h"
#include "evomoe/train/task.h"

namespace evomoe {

void CriterionOptions::describe(OptionTable& table) {
  table.group("criterion", "Criterion");
  table
      .add("criterion", &criterion,
           "What is minimised: moe_... adds the routers' balance loss, ..._gumbel logs the experts "
           "used.")
      .choices({"cross_entropy", "moe_cross_entropy", "cross_entropy_gumbel", "masked_lm",
                "moe_masked_lm", "masked_lm_gumbel", "label_smoothed_cross_entropy",
                "moe_label_smoothed_cross_entropy", "sentence_prediction", "adaptive_loss"});
  table
      .add("label-smoothing", &label_smoothing,
           "label_smoothed_cross_entropy: share of probability given to all tokens alike.")
      .range(0, 1);
  table.add("report-accuracy", &report_accuracy,
            "label_smoothed_cross_entropy: logs the share of tokens that are predicted "
            "correctly.");
  table
      .add("ignore-prefix-size", &ignore_prefix_size,
           "label_smoothed_cross_entropy: first tokens of a target that are not scored.")
      .at_least(0);
  table.add("sentence-avg", &sentence_avg,
            "Losses are divided by the number of sentences, not of tokens.");
  table.add("moe-gate-loss-wt", &moe_gate_loss_wt, "Weight of the balance loss.").at_least(0);
  table
      .add("moe-gate-loss-combine-method", &moe_gate_loss_combine_method,
           "How the balance "
           "losses of the MoE "
           "layers are "
           "combined.")
      .choices({"average", "sum"});
  table.add("moe-gate-loss-transform", &moe_gate_loss_transform, "Applied to the balance loss.")
      .choices({"none", "neg_log"});
  table
      .add("moe-z-loss-wt", &moe_z_loss_wt,
           "Weight of the router z-loss, which keeps the logits small.")
      .at_least(0);
  table.for_tasks(tasks_of_criterion("sentence_prediction"));
  table.add("regression-target", &regression_target,
            "Predicts a number for each row (label/SPLIT.label, one a line) and minimises the "
            "squared error.");
}

}  // namespace evomoe
