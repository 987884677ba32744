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

/// Values on their way between ranks; their gradients go the same way back.
struct RowsInFlight;

/// Consecutive tokens of a batch.
struct TokenRange {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

/// One forward pass of a layer whose experts are divided among ranks, for some of its tokens. A
/// token goes once to each rank that owns one of its experts, with the experts and combine weights
/// that it has there; one row comes back for it, the weighted sum. Nothing is padded, ranks without
/// tokens take part as all others do, and gradients go the same ways back.
///
/// All ranks call the same, in the same order. Between a start and its end the program can do other
/// things, in the backward pass as well: other tokens' experts, whose rows have arrived.
class ExpertExchange {
 public:
  /// `tokens`: those of this exchange, among the batch's. `routing`: of these to all experts, their
  /// numbers counted from the first. `noise`: of their micro-batch. `layer`: for the messages of
  /// errors.
  ExpertExchange(Routing routing, const TokenRange& tokens, const NoiseKey& noise,
                 const std::vector<ExpertRange>& owners, std::shared_ptr<Communicator> ranks,
                 int64_t layer);

  /// x_TD [T,D]: of the batch's tokens.
  void start_dispatch(const torch::Tensor& x_TD);
  VisitingTokens visiting();
  /// y_ND [N,D], of the visiting tokens.
  void start_combine(const torch::Tensor& y_ND);
  /// y_TD [T,D], of this exchange's tokens.
  torch::Tensor combined();

 private:
  std::string words(const char* what) const;
  void plan_own_tokens();
  void exchange_plans();

  Routing routing_;
  TokenRange tokens_;
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

  std::shared_ptr<RowsInFlight> in_flight_;
  torch::Tensor message_;  ///< what is in flight, as the graph knows it
};

}  // namespace evomoe
