#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "evomoe/config/options.h"
#include "evomoe/models/gpt.h"

namespace evomoe {

/// A micro-batch on the model's device.
struct DeviceBatch {
  torch::Tensor source_BS;   ///< int64 tokens, right-padded
  torch::Tensor target_BS;   ///< int64
  torch::Tensor padding_BS;  ///< bool, true = padding; undefined when there is none
  int64_t sequences = 0;     ///< real ones
  int64_t tokens = 0;        ///< real source tokens
  int64_t sample_size = 0;   ///< target tokens
};

/// The sums of one or more micro-batches, in nats.
struct LossSums {
  double loss = 0;   ///< what is trained: inner + weighted gate losses
  double inner = 0;  ///< cross-entropy
  double gate =
      0;         ///< balance loss: combined over layers, transformed, times sample size, unweighted
  double z = 0;  ///< router z-loss: summed over layers, times sample size, unweighted
  int64_t sample_size = 0;
  int64_t tokens = 0;
  int64_t sequences = 0;
  int64_t batches = 0;
  /// The reference's router metrics, averaged over layers and summed over micro-batches, in its
  /// order.
  std::vector<std::pair<std::string, double>> metrics;

  LossSums& operator+=(const LossSums& other);
};

struct CriterionResult {
  torch::Tensor loss;  ///< scalar on the graph, a sum over target tokens
  LossSums sums;
};

/// `cross_entropy` and `moe_cross_entropy` (reference/evomoe.md section 5). Sums over target
/// tokens; gradients are divided by the sample size of the whole update later.
class Criterion {
 public:
  Criterion(const CriterionOptions& options, int64_t padding_index)
      : options_(options), padding_index_(padding_index) {}

  CriterionResult operator()(Gpt& model, const GptOutput& output, const DeviceBatch& batch) const;

  /// True for the criterions that add the gate loss and log its metrics.
  bool is_moe() const { return options_.criterion == "moe_cross_entropy"; }

 private:
  CriterionOptions options_;
  int64_t padding_index_;
};

/// The reference's metric names, in the order of its log.
const std::vector<std::string>& reference_metric_names();

}  // namespace evomoe
