#pragma once

#include <memory>
#include <vector>

#include "evomoe/generate/beam_search.h"

namespace evomoe {

/// The logarithm of the mean of probabilities, given their logarithms: float [M,...] of M models to
/// [...] (fairseq's EnsembleModel and SequenceScorer).
torch::Tensor log_mean_probability(const std::vector<torch::Tensor>& log_probability_M);

/// Several models that search together, for beam_search(): the probability of a token is the mean
/// of theirs, each of which has been tempered (its log-probabilities divided by the temperature and
/// normalised again).
class EnsembleSteps : public NextTokens {
 public:
  /// At least one; all have the same vocabulary.
  explicit EnsembleSteps(std::vector<std::unique_ptr<NextTokens>> models, double temperature = 1);

  /// The smallest of theirs.
  int64_t max_positions() const override;
  torch::Tensor next(const torch::Tensor& token_N) override;
  void reorder(const torch::Tensor& order_N) override;

 private:
  std::vector<std::unique_ptr<NextTokens>> models_;
  double temperature_;
};

}  // namespace evomoe
