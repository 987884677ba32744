#include "evomoe/moe/expert_exchange.h"

#include <ATen/record_function.h>

#include <numeric>

#include "evomoe/base/error.h"
#include "evomoe/ops/saved_value.h"

namespace evomoe {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

using Counts = std::vector<int64_t>;

/// Longer than any sequence, so that (sequence, position) is one number.
constexpr int64_t kNoiseSequence = int64_t{1} << 31;

int64_t sum(const Counts& counts) { return std::reduce(counts.begin(), counts.end()); }

Tensor int64_tensor(Counts values) { return torch::tensor(values, torch::kInt64); }

/// How many values go where, in one direction and the other.
struct Traffic {
  std::shared_ptr<Communicator> ranks;
  std::string what;  ///< for the messages of errors
  Counts sent_rows_P, received_rows_P, sent_weights_P, received_weights_P;

  Traffic reversed() const {
    return {ranks, what, received_rows_P, sent_rows_P, received_weights_P, sent_weights_P};
  }
};

/// For each rank its part of `first`, then its part of `second`: how two things travel as one
/// message.
Tensor by_rank(const Tensor& first, const Counts& first_P, const Tensor& second,
               const Counts& second_P) {
  std::vector<Tensor> parts;
  int64_t at_first = 0, at_second = 0;
  for (size_t p = 0; p < first_P.size(); ++p) {
    parts.push_back(first.narrow(0, at_first, first_P[p]).flatten());
    parts.push_back(second.narrow(0, at_second, second_P[p]));
    at_first += first_P[p];
    at_second += second_P[p];
  }
  return torch::cat(parts);
}

/// The lengths of those messages, whose first part has rows of so many numbers.
Counts lengths(const Counts& first_P, int64_t row, const Counts& second_P) {
  Counts length_P;
  for (size_t p = 0; p < first_P.size(); ++p) length_P.push_back(first_P[p] * row + second_P[p]);
  return length_P;
}

/// Rows and weights travel as one message a rank, first its rows, then its weights.
std::pair<Tensor, Tensor> exchanged(const Tensor& rows_RD, const Tensor& weight_A,
                                    const Traffic& traffic) {
  const auto D = rows_RD.size(1);
  const auto received = traffic.ranks->all_to_all(
      by_rank(rows_RD, traffic.sent_rows_P, weight_A, traffic.sent_weights_P),
      lengths(traffic.sent_rows_P, D, traffic.sent_weights_P),
      lengths(traffic.received_rows_P, D, traffic.received_weights_P), traffic.what);
  auto new_rows = torch::empty({sum(traffic.received_rows_P), D}, rows_RD.options());
  auto new_weights = torch::empty({sum(traffic.received_weights_P)}, weight_A.options());
  int64_t at = 0, row = 0, weight = 0;
  for (size_t p = 0; p < traffic.received_rows_P.size(); ++p) {
    const auto rows = traffic.received_rows_P[p], weights = traffic.received_weights_P[p];
    new_rows.narrow(0, row, rows).copy_(received.narrow(0, at, rows * D).view({rows, D}));
    new_weights.narrow(0, weight, weights).copy_(received.narrow(0, at + rows * D, weights));
    at += rows * D + weights;
    row += rows;
    weight += weights;
  }
  return {new_rows, new_weights};
}

/// Both in one node, whose backward pass runs on each rank as on all others, whatever it received.
class ExchangeRows : public torch::autograd::Function<ExchangeRows> {
 public:
  static variable_list forward(AutogradContext* context, const Tensor& rows_RD,
                               const Tensor& weight_A, const Traffic& traffic) {
    save_value(context, "traffic", traffic);
    auto [rows, weights] = exchanged(rows_RD, weight_A, traffic);
    return {rows, weights};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto traffic = saved_value<Traffic>(context, "traffic");
    auto [rows, weights] = exchanged(gradients[0], gradients[1], traffic.reversed());
    return {rows, weights, Tensor()};
  }
};

}  // namespace

ExpertExchange::ExpertExchange(const Routing& routing, int64_t num_tokens, const NoiseKey& noise,
                               const std::vector<ExpertRange>& owners,
                               std::shared_ptr<Communicator> ranks, int64_t layer)
    : routing_(routing),
      num_tokens_(num_tokens),
      noise_(noise),
      owners_(owners),
      ranks_(std::move(ranks)),
      layer_(layer) {
  EVOMOE_CHECK(routing.token_A.is_cpu(), "experts are divided among ranks on the CPU only");
  RECORD_USER_SCOPE("expert exchange");
  plan_own_tokens();
  exchange_plans();
}

std::string ExpertExchange::words(const char* what) const {
  return fmt::format("{} of MoE layer {}", what, layer_);
}

void ExpertExchange::plan_own_tokens() {
  const auto token_A = routing_.token_A.contiguous();
  const auto offset_E1 = routing_.offset_E1.contiguous();
  const auto* token = token_A.const_data_ptr<int64_t>();
  const auto* offset = offset_E1.const_data_ptr<int64_t>();
  Counts tokens, row_of(static_cast<size_t>(num_tokens_)), rows(token_A.size(0));
  for (const auto& owned : owners_) {
    const auto begin = offset[owned.begin], end = offset[owned.end];
    row_of.assign(row_of.size(), 0);
    for (auto a = begin; a < end; ++a) row_of[token[a]] = 1;
    int64_t count = 0;
    for (int64_t t = 0; t < num_tokens_; ++t) {
      if (row_of[t] == 0) continue;
      row_of[t] = count++;
      tokens.push_back(t);
    }
    for (auto a = begin; a < end; ++a) rows[a] = row_of[token[a]];
    sent_rows_P_.push_back(count);
    sent_assignments_P_.push_back(end - begin);
  }
  for (int64_t e = 0; e < routing_.num_experts(); ++e) counts_.push_back(offset[e + 1] - offset[e]);
  sent_token_R_ = int64_tensor(std::move(tokens));
  sent_row_A_ = int64_tensor(std::move(rows));
}

/// Each rank learns how many rows and assignments of its experts the others have, and which.
void ExpertExchange::exchange_plans() {
  const auto ranks = owners_.size();
  const auto own = owners_[static_cast<size_t>(ranks_->rank())].size();
  Counts message, sent_P;
  for (size_t p = 0; p < ranks; ++p) {
    message.push_back(sent_rows_P_[p]);
    message.insert(message.end(), counts_.begin() + owners_[p].begin,
                   counts_.begin() + owners_[p].end);
    sent_P.push_back(1 + owners_[p].size());
  }
  const auto counts_PN =
      ranks_
          ->all_to_all(int64_tensor(std::move(message)), sent_P, Counts(ranks, 1 + own),
                       words("which tokens go to which experts"))
          .view({static_cast<int64_t>(ranks), 1 + own});
  const auto counts = counts_PN.accessor<int64_t, 2>();
  Counts offset(static_cast<size_t>(own) + 1);
  for (int64_t p = 0; p < static_cast<int64_t>(ranks); ++p) {
    received_rows_P_.push_back(counts[p][0]);
    received_assignments_P_.push_back(0);
    for (int64_t e = 0; e < own; ++e) {
      received_assignments_P_.back() += counts[p][1 + e];
      offset[e + 1] += counts[p][1 + e];
    }
  }
  std::partial_sum(offset.begin(), offset.end(), offset.begin());

  // Where each row's noise is: sequence and position as one number; then the assignments' rows.
  const auto length = noise_.sequence_length == 0 ? kNoiseSequence : noise_.sequence_length;
  const auto sequence_R = torch::floor_divide(sent_token_R_, length) + noise_.first_sequence;
  const auto place_R = sequence_R * kNoiseSequence + sent_token_R_.remainder(length);
  const auto numbers =
      ranks_->all_to_all(by_rank(place_R, sent_rows_P_, sent_row_A_, sent_assignments_P_),
                         lengths(sent_rows_P_, 1, sent_assignments_P_),
                         lengths(received_rows_P_, 1, received_assignments_P_),
                         words("which tokens go to which experts"));
  const auto* number = numbers.const_data_ptr<int64_t>();
  Counts noise_token, order(static_cast<size_t>(offset.back())), rows(order.size());
  Counts next(offset.begin(), offset.end() - 1);
  int64_t first_row = 0, place = 0;
  for (int64_t p = 0; p < static_cast<int64_t>(ranks); ++p) {
    noise_token.insert(noise_token.end(), number, number + counts[p][0]);
    number += counts[p][0];
    for (int64_t e = 0; e < own; ++e) {
      for (int64_t i = 0; i < counts[p][1 + e]; ++i) {
        order[next[e]] = place++;
        rows[next[e]++] = first_row + *number++;
      }
    }
    first_row += counts[p][0];
  }
  noise_token_N_ = int64_tensor(std::move(noise_token));
  order_A_ = int64_tensor(std::move(order));
  visiting_row_A_ = int64_tensor(std::move(rows));
  offset_E1_ = int64_tensor(std::move(offset));
}

VisitingTokens ExpertExchange::dispatch(const Tensor& x_TD) const {
  RECORD_USER_SCOPE("expert exchange");
  const Traffic traffic{ranks_,
                        words("the tokens for the experts"),
                        sent_rows_P_,
                        received_rows_P_,
                        sent_assignments_P_,
                        received_assignments_P_};
  const auto received = ExchangeRows::apply(x_TD.index_select(0, sent_token_R_),
                                            routing_.weight_A.to(x_TD.scalar_type()), traffic);
  VisitingTokens visiting;
  visiting.x_ND = received[0];
  visiting.routing.token_A = visiting_row_A_;
  visiting.routing.weight_A = received[1].index_select(0, order_A_);
  visiting.routing.offset_E1 = offset_E1_;
  visiting.noise = noise_;
  visiting.noise.first_sequence = 0;
  visiting.noise.sequence_length = static_cast<uint32_t>(kNoiseSequence);
  visiting.noise_token_N = noise_token_N_;
  return visiting;
}

Tensor ExpertExchange::combine(const Tensor& y_ND) const {
  RECORD_USER_SCOPE("expert exchange");
  const Counts none(sent_rows_P_.size());
  const Traffic traffic{
      ranks_, words("what the experts made of the tokens"), received_rows_P_, sent_rows_P_, none,
      none};
  const auto rows_RD =
      ExchangeRows::apply(y_ND, torch::empty({0}, y_ND.options().requires_grad(false)), traffic)[0];
  return torch::zeros({num_tokens_, y_ND.size(1)}, y_ND.options().requires_grad(false))
      .index_add(0, sent_token_R_, rows_RD);
}

}  // namespace evomoe
