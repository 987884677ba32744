#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "evomoe/models/adaptive_input.h"
#include "evomoe/models/model.h"

namespace evomoe {

struct AdaptiveSoftmaxOptions {
  AdaptiveBands bands;
  bool tie_weights = false;      ///< the tables of the adaptive input are the output's
  bool tie_projections = false;  ///< and its projections too
  double dropout =
      0.0;  ///< in training: of the features, and again where they are projected for a band
};

/// The adaptive softmax (Grave et al., arXiv 1609.04309): a head over the first band's tokens and
/// one class for each other band, and a softmax within each of these. Parameters head.weight (tied:
/// head.class_proj.weight) and tail.{i}.0.weight, tail.{i}.2.weight, as far as they are its own.
class AdaptiveSoftmaxImpl : public torch::nn::Module {
 public:
  /// `input`: whose weights are shared; null when none are.
  AdaptiveSoftmaxImpl(const AdaptiveSoftmaxOptions& options, int64_t vocab_size, int64_t dim,
                      const AdaptiveInput& input);

  /// Of `how`, the targets that do not count and the noise of the dropout.
  TokenLoss loss(const torch::Tensor& x_ND, const torch::Tensor& target_N,
                 const TokenLossOptions& how);
  torch::Tensor log_probability(const torch::Tensor& x_ND);  ///< [N,V]
  torch::Tensor log_probability_of(const torch::Tensor& x_ND,
                                   const torch::Tensor& target_N);  ///< [N]
  void initialise(uint64_t seed, const std::string& name);

 private:
  struct Tail {
    torch::Tensor projection;  ///< [width, D]; or [D, width] of the adaptive input
    bool transposed = false;
    torch::Tensor weight;  ///< [tokens of the band, width]
    bool own_projection = true, own_weight = true;
  };
  /// [tokens of the first band + other bands, D].
  torch::Tensor head_weight() const;
  torch::Tensor tail_features(const Tail& tail, const torch::Tensor& x_ND) const;
  /// Calls `visit(index of a tail, rows of it, targets within it)`; returns the head's targets.
  template <typename Visit>
  torch::Tensor split(const torch::Tensor& target_N, int64_t ignore_index, Visit visit) const;

  std::vector<int64_t> bounds_;
  double dropout_;
  torch::Tensor head_, class_projection_;  // one of them is the module's own
  torch::Tensor word_weight_;              // [tokens of the first band, D], when tied
  std::vector<Tail> tails_;
};
TORCH_MODULE(AdaptiveSoftmax);

}  // namespace evomoe
