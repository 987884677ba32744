#include "evomoe/moe/expert_exchange.h"

#include <ATen/record_function.h>

#include <numeric>
#include <utility>

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

/// Rows and weights as one message a rank, first its rows, then its weights.
Tensor packed(const Tensor& rows_RD, const Tensor& weight_A, const Traffic& traffic) {
  return by_rank(rows_RD, traffic.sent_rows_P, weight_A, traffic.sent_weights_P);
}

/// The rows and weights of a message that was received.
std::pair<Tensor, Tensor> unpacked(const Tensor& message, int64_t D, const Traffic& traffic) {
  auto rows_ND = torch::empty({sum(traffic.received_rows_P), D}, message.options());
  auto weight_A = torch::empty({sum(traffic.received_weights_P)}, message.options());
  int64_t at = 0, row = 0, weight = 0;
  for (size_t p = 0; p < traffic.received_rows_P.size(); ++p) {
    const auto rows = traffic.received_rows_P[p], weights = traffic.received_weights_P[p];
    rows_ND.narrow(0, row, rows).copy_(message.narrow(0, at, rows * D).view({rows, D}));
    weight_A.narrow(0, weight, weights).copy_(message.narrow(0, at + rows * D, weights));
    at += rows * D + weights;
    row += rows;
    weight += weights;
  }
  return {rows_ND, weight_A};
}

}  // namespace

struct RowsInFlight {
  Traffic traffic;
  int64_t row = 0;  ///< D
  Tensor received;  ///< in the direction that is under way
  std::unique_ptr<PendingOperation> operation;

  void start(const Tensor& message, const Traffic& way) {
    const auto received_P = lengths(way.received_rows_P, row, way.received_weights_P);
    received = torch::empty({sum(received_P)}, message.options().requires_grad(false));
    operation = way.ranks->start_all_to_all(
        received, message, lengths(way.sent_rows_P, row, way.sent_weights_P), received_P, way.what);
  }
  std::pair<Tensor, Tensor> finish(const Traffic& way) {
    RECORD_USER_SCOPE("wait for rows");
    operation->wait();
    operation.reset();
    return unpacked(std::exchange(received, {}), row, way);
  }
};

namespace {

using InFlight = std::shared_ptr<RowsInFlight>;

/// Sends rows and weights. Together with ReceiveRows: the backward pass of the one begins what that
/// of the other ends, and runs on each rank as on all others, whatever it received.
class SendRows : public torch::autograd::Function<SendRows> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& rows_RD, const Tensor& weight_A,
                        const InFlight& in_flight) {
    save_value(context, "in flight", in_flight);
    in_flight->row = rows_RD.size(1);
    in_flight->start(packed(rows_RD, weight_A, in_flight->traffic), in_flight->traffic);
    return in_flight->received;  // to be read by ReceiveRows alone
  }

  static variable_list backward(AutogradContext* context, const variable_list&) {
    const auto in_flight = saved_value<InFlight>(context, "in flight");
    auto [rows, weights] = in_flight->finish(in_flight->traffic.reversed());
    return {rows, weights, Tensor()};
  }
};

class ReceiveRows : public torch::autograd::Function<ReceiveRows> {
 public:
  static variable_list forward(AutogradContext* context, const Tensor& /*message*/,
                               const InFlight& in_flight) {
    save_value(context, "in flight", in_flight);
    auto [rows, weights] = in_flight->finish(in_flight->traffic);
    return {rows, weights};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto in_flight = saved_value<InFlight>(context, "in flight");
    const auto way = in_flight->traffic.reversed();
    const auto message = packed(gradients[0], gradients[1], way);
    in_flight->start(message, way);
    return {message, Tensor()};  // which SendRows does not read
  }
};

}  // namespace

ExpertExchange::ExpertExchange(Routing routing, const TokenRange& tokens, const NoiseKey& noise,
                               const std::vector<ExpertRange>& owners,
                               std::shared_ptr<Communicator> ranks, int64_t layer)
    : routing_(std::move(routing)),
      tokens_(tokens),
      noise_(noise),
      owners_(owners),
      ranks_(std::move(ranks)),
      layer_(layer) {
  EVOMOE_CHECK(routing_.token_A.is_cpu(), "experts are divided among ranks on the CPU only");
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
  Counts tokens, row_of(static_cast<size_t>(tokens_.size())), rows(token_A.size(0));
  for (const auto& owned : owners_) {
    const auto begin = offset[owned.begin], end = offset[owned.end];
    row_of.assign(row_of.size(), 0);
    for (auto a = begin; a < end; ++a) row_of[token[a]] = 1;
    int64_t count = 0;
    for (int64_t t = 0; t < tokens_.size(); ++t) {
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
  const auto token_R = sent_token_R_ + tokens_.begin;
  const auto sequence_R = torch::floor_divide(token_R, length) + noise_.first_sequence;
  const auto place_R = sequence_R * kNoiseSequence + token_R.remainder(length);
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

void ExpertExchange::start_dispatch(const Tensor& x_TD) {
  RECORD_USER_SCOPE("expert exchange");
  in_flight_ = std::make_shared<RowsInFlight>();
  in_flight_->traffic = {ranks_,
                         words("the tokens for the experts"),
                         sent_rows_P_,
                         received_rows_P_,
                         sent_assignments_P_,
                         received_assignments_P_};
  message_ = SendRows::apply(x_TD.index_select(0, sent_token_R_ + tokens_.begin),
                             routing_.weight_A.to(x_TD.scalar_type()), in_flight_);
}

VisitingTokens ExpertExchange::visiting() {
  RECORD_USER_SCOPE("expert exchange");
  const auto received = ReceiveRows::apply(std::exchange(message_, {}), in_flight_);
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

void ExpertExchange::start_combine(const Tensor& y_ND) {
  RECORD_USER_SCOPE("expert exchange");
  const Counts none(sent_rows_P_.size());
  in_flight_ = std::make_shared<RowsInFlight>();
  in_flight_->traffic = {
      ranks_, words("what the experts made of the tokens"), received_rows_P_, sent_rows_P_, none,
      none};
  message_ =
      SendRows::apply(y_ND, torch::empty({0}, y_ND.options().requires_grad(false)), in_flight_);
}

Tensor ExpertExchange::combined() {
  RECORD_USER_SCOPE("expert exchange");
  const auto rows_RD = ReceiveRows::apply(std::exchange(message_, {}), in_flight_)[0];
  return torch::zeros({tokens_.size(), rows_RD.size(1)}, rows_RD.options().requires_grad(false))
      .index_add(0, sent_token_R_, rows_RD);
}

}  // namespace evomoe
