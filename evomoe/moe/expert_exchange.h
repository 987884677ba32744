#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "evomoe/base/philox.h"
#include "evomoe/parallel/rank_groups.h"
#include "evomoe/routing/routing.h"

namespace evomoe {

/// What tokens of all ranks bring to the experts of this one.
struct VisitingTokens {
  torch::Tensor x_ND;           ///< a row for each token that has an expert here, rank after rank
  Routing routing;              ///< of those rows to the experts of this rank
  NoiseKey noise;               ///< for noise_token_N
  torch::Tensor noise_token_N;  ///< int64 [N], by which a row's noise is keyed as on its own rank
};

/// One forward pass of a layer whose experts are divided among ranks. A token goes once to each
/// rank that owns one of its experts, with the experts and combine weights that it has there; one
/// row comes back for it, the weighted sum. Nothing is padded, ranks without tokens take part as
/// all others do, and gradients go the same ways back.
class ExpertExchange {
 public:
  /// `routing`: of T tokens to all experts, which must outlive this. `noise`: of their micro-batch.
  /// All ranks call it. `layer`: for the messages of errors.
  ExpertExchange(const Routing& routing, int64_t num_tokens, const NoiseKey& noise,
                 const std::vector<ExpertRange>& owners, std::shared_ptr<Communicator> ranks,
                 int64_t layer);

  /// x_TD [T,D]: of this rank's tokens.
  VisitingTokens dispatch(const torch::Tensor& x_TD) const;
  /// y_ND [N,D], of the visiting tokens -> y_TD [T,D], of this rank's own.
  torch::Tensor combine(const torch::Tensor& y_ND) const;

 private:
  std::string words(const char* what) const;
  void plan_own_tokens();
  void exchange_plans();

  const Routing& routing_;
  int64_t num_tokens_;
  NoiseKey noise_;
  std::vector<ExpertRange> owners_;
  std::shared_ptr<Communicator> ranks_;
  int64_t layer_;

  // What this rank sends to rank p: sent_rows_P[p] rows, sent_assignments_P[p] assignments.
  std::vector<int64_t> sent_rows_P_, sent_assignments_P_;
  std::vector<int64_t> received_rows_P_, received_assignments_P_;
  torch::Tensor sent_token_R_;    ///< int64, the token of each row sent, rank after rank
  torch::Tensor sent_row_A_;      ///< int64, the row of each assignment among those of its rank
  std::vector<int64_t> counts_;   ///< assignments of this rank to each of all experts
  torch::Tensor order_A_;         ///< int64, expert-major place -> place among what was received
  torch::Tensor visiting_row_A_;  ///< int64, the row of each assignment, expert-major
  torch::Tensor offset_E1_;       ///< of the experts here
  torch::Tensor noise_token_N_;
};

}  // namespace evomoe
