#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>

#include "evomoe/ops/expert_weights.h"
#include "evomoe/parallel/rank_groups.h"

namespace evomoe {

class OptionTable;

/// How one trained expert becomes E different ones at the end of the shared-expert stage. The
/// EvoMoE paper (arXiv 2112.14397) says that the copies' weights are masked at random; its code has
/// no such step.
struct DiversifyOptions {
  /// - copy: equal experts (sparse upcycling, arXiv 2212.05055);
  /// - mask: each element of the matrices is zeroed with probability `ratio`;
  /// - noise: the matrices get normal noise of `ratio` times their own standard deviation;
  /// - drop-upcycling (arXiv 2502.19261): the share `ratio` of hidden units (rows of w1 and w3 with
  ///   the same columns of w2) is drawn again from normal distributions, in each matrix with the
  ///   replaced values' mean and deviation.
  /// Biases are copied always.
  std::string operation = "mask";
  double ratio = 0.5;
  bool rescale = false;          ///< mask: divide what is left by 1 - ratio
  bool keep_first = false;       ///< expert 0 stays an exact copy
  std::string moments = "copy";  ///< of Adam, of the new experts: copy | reset | scale

  void describe(OptionTable& table);  ///< into the group that is being described
};

/// Throws UsageError for an unknown operation, a ratio outside its range ([0,1) for mask, [0,1] for
/// drop-upcycling, >= 0 for noise) or `rescale` without mask.
void validate(const DiversifyOptions& options);

/// Some of the experts that one becomes (each tensor of `one` with a first axis of 1). Every random
/// number depends on (seed, layer, expert, matrix, element) only, so expert e is the same whatever
/// the others are.
ExpertWeights diversify(const ExpertWeights& one, const ExpertRange& experts,
                        const DiversifyOptions& options, uint64_t seed, int64_t layer);

/// What drop-upcycling does to one matrix: rows `unit_N` of `matrix` [R,C] become their own mean
/// plus their own (unbiased) standard deviation times `normal_NC`. Fewer than two values stay as
/// they are.
torch::Tensor redraw_rows(const torch::Tensor& matrix, const torch::Tensor& unit_N,
                          const torch::Tensor& normal_NC);

/// A tensor of the optimiser's state of `count` of E experts from that of one, [1, ...] -> [count,
/// ...], which grows with this power of the gradient (optim/update_rule.h). Rules: `copy`; `reset`
/// to zero; `scale` by (1/E)^power: an expert that takes part with an average combine weight of 1/E
/// has gradients of 1/E. UsageError: another rule.
torch::Tensor diversify_moment(const torch::Tensor& moment, int gradient_power, int64_t num_experts,
                               int64_t count, const std::string& rule);

/// The same where each of n experts becomes `times` copies of itself, [n, ...] -> [n * times, ...].
torch::Tensor copied_moment(const torch::Tensor& moment, int gradient_power, int64_t times,
                            const std::string& rule);

}  // namespace evomoe
