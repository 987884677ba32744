#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "evomoe/models/model.h"
#include "evomoe/train/batches.h"
#include "evomoe/train/criterion_options.h"

namespace evomoe {

/// The sums of one or more micro-batches, in nats.
struct LossSums {
  double loss = 0;   ///< what is trained: inner + weighted gate losses
  double inner = 0;  ///< of the task, smoothed where --label-smoothing asks for it
  double nll = 0;    ///< of the task, not smoothed
  double gate =
      0;         ///< balance loss: combined over layers, transformed, times sample size, unweighted
  double z = 0;  ///< router z-loss: summed over layers, times sample size, unweighted
  int64_t sample_size = 0;  ///< target tokens, or sequences
  int64_t tokens = 0;
  int64_t sequences = 0;
  int64_t batches = 0;
  int64_t predicted = 0;  ///< targets
  int64_t correct = 0;    ///< of those, the most probable ones; where they are counted
  /// Of a classification into two: rows of [true class][predicted class].
  std::array<std::array<int64_t, 2>, 2> confusion{};
  /// Of an evaluated regression: (true number, answer) of each row.
  std::vector<std::pair<float, float>> answers;
  /// The reference's router metrics, averaged over layers and summed over micro-batches, in its
  /// order.
  std::vector<std::pair<std::string, double>> metrics;

  LossSums& operator+=(const LossSums& other);

  /// What gradients are divided by. Without a target they are 0, so that any number will do.
  double divisor() const { return static_cast<double>(std::max<int64_t>(sample_size, 1)); }
};

struct CriterionResult {
  torch::Tensor loss;  ///< scalar on the graph, a sum over target tokens
  LossSums sums;
};

/// What a --criterion is made of.
struct CriterionKind {
  enum class Inner { kCrossEntropy, kMaskedLm, kLabelSmoothed, kSentencePrediction };
  enum class Gate {
    kNone,    ///< routers are neither trained by a loss of theirs nor logged
    kLoss,    ///< moe_...: adds the gate loss and logs its metrics
    kActive,  ///< ..._gumbel: logs the average of active experts
  };
  Inner inner = Inner::kCrossEntropy;
  Gate gate = Gate::kNone;
};

/// Error for a name that is none; the option table knows them all.
CriterionKind criterion_kind(const std::string& name);

/// The criterions of docs/reference.md section 5. Sums over target tokens (or sequences);
/// gradients are divided by the sample size of the whole update later.
class Criterion {
 public:
  Criterion(const CriterionOptions& options, int64_t padding_index,
            std::string classification_head = "");

  /// `context`: that of the forward pass which gave `output`.
  CriterionResult operator()(Model& model, const ModelOutput& output, const DeviceBatch& batch,
                             const ForwardContext& context) const;

  CriterionKind kind() const { return kind_; }
  const CriterionOptions& options() const { return options_; }

 private:
  torch::Tensor predict_tokens(Model& model, const torch::Tensor& x_BSD, const DeviceBatch& batch,
                               const ForwardContext& context, LossSums& sums) const;
  torch::Tensor predict_sentences(Model& model, const torch::Tensor& x_BSD,
                                  const DeviceBatch& batch, const ForwardContext& context,
                                  LossSums& sums) const;
  void add_gate_losses(const ModelOutput& output, CriterionResult& result) const;

  CriterionOptions options_;
  CriterionKind kind_;
  int64_t padding_index_;
  std::string classification_head_;
};

/// The reference's metric names, in the order of its log.
const std::vector<std::string>& reference_metric_names();

}  // namespace evomoe
