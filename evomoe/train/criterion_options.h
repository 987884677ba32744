#pragma once

#include <cstdint>
#include <string>

namespace evomoe {

class OptionTable;

/// What is minimised.
struct CriterionOptions {
  /// cross_entropy, masked_lm or label_smoothed_cross_entropy, each alone, with the gate loss
  /// (moe_...) or, but for the last, with the logged number of experts (..._gumbel);
  /// sentence_prediction; adaptive_loss.
  std::string criterion = "cross_entropy";
  double label_smoothing = 0.0;
  bool report_accuracy = false;
  int64_t ignore_prefix_size = 0;
  bool regression_target = false;  ///< sentence_prediction: of numbers, not of classes
  bool sentence_avg = false;       ///< losses are divided by the number of sentences
  double moe_gate_loss_wt = 1.0;
  std::string moe_gate_loss_combine_method = "average";  ///< average | sum
  std::string moe_gate_loss_transform = "none";          ///< none | neg_log
  double moe_z_loss_wt = 0.0;

  void describe(OptionTable& table);
};

}  // namespace evomoe
