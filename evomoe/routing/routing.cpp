#include "evomoe/routing/routing.h"

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

/// [0, n_0, n_0 + n_1, ...] on the CPU.
torch::Tensor offsets(const torch::Tensor& count_E) {
  const auto count_cpu_E = count_E.to(torch::kCPU, torch::kInt64);
  return torch::cat({torch::zeros({1}, torch::kInt64), count_cpu_E.cumsum(0)});
}

}  // namespace

Routing Routing::from_mask(const torch::Tensor& selected_TE, const torch::Tensor& weight_TE) {
  EVOMOE_CHECK(selected_TE.dim() == 2 && selected_TE.scalar_type() == torch::kBool,
               "a selection mask must be bool [tokens, experts], not {} of {} dimensions",
               c10::toString(selected_TE.scalar_type()), selected_TE.dim());
  EVOMOE_CHECK(weight_TE.sizes() == selected_TE.sizes(),
               "combine weights {} and selection mask {} must have the same shape",
               c10::str(weight_TE.sizes()), c10::str(selected_TE.sizes()));
  const int64_t num_tokens = selected_TE.size(0);
  const int64_t num_experts = selected_TE.size(1);
  Routing routing;
  const auto selected_ET = selected_TE.t().contiguous();
  routing.offset_E1 = offsets(selected_ET.sum(1));
  // Row-major positions of the transposed mask are expert-major with ascending tokens.
  const auto place_A = selected_ET.view(-1).nonzero().squeeze(1);
  const int64_t divisor = std::max<int64_t>(num_tokens, 1);
  const auto expert_A = place_A.floor_divide(divisor);
  routing.token_A = place_A - expert_A * num_tokens;
  routing.weight_A =
      weight_TE.reshape(-1).index_select(0, routing.token_A * num_experts + expert_A);
  return routing;
}

Routing Routing::from_choices(const torch::Tensor& expert_T, const torch::Tensor& weight_T,
                              int64_t num_experts) {
  EVOMOE_CHECK(expert_T.dim() == 1 && expert_T.scalar_type() == torch::kInt64,
               "the chosen experts must be int64 [tokens], not {} of {} dimensions",
               c10::toString(expert_T.scalar_type()), expert_T.dim());
  EVOMOE_CHECK(weight_T.sizes() == expert_T.sizes(),
               "combine weights {} and chosen experts {} must have the same shape",
               c10::str(weight_T.sizes()), c10::str(expert_T.sizes()));
  const auto routed_A = (expert_T >= 0).nonzero().squeeze(1);
  const auto expert_A = expert_T.index_select(0, routed_A);
  const auto count_E = torch::bincount(expert_A, /*weights=*/{}, num_experts);
  EVOMOE_CHECK(count_E.size(0) == num_experts,
               "a token was sent to expert {}, but there are experts 0 to {} only",
               count_E.size(0) - 1, num_experts - 1);
  Routing routing;
  routing.offset_E1 = offsets(count_E);
  // Stable: tokens stay in ascending order within an expert.
  const auto order_A = std::get<1>(expert_A.sort(/*stable=*/true, /*dim=*/0, /*descending=*/false));
  routing.token_A = routed_A.index_select(0, order_A);
  routing.weight_A = weight_T.index_select(0, routing.token_A);
  return routing;
}

Routing Routing::of_tokens(int64_t begin, int64_t end) const {
  Routing of_some;
  const auto in_range_A = (token_A >= begin).logical_and(token_A < end);
  const auto index_A = in_range_A.nonzero().squeeze(1);
  of_some.token_A = token_A.index_select(0, index_A) - begin;
  of_some.weight_A = weight_A.index_select(0, index_A);
  const auto before_A1 = torch::cat(
      {torch::zeros({1}, torch::kInt64), in_range_A.to(torch::kCPU, torch::kInt64).cumsum(0)});
  of_some.offset_E1 = before_A1.index_select(0, offset_E1);
  return of_some;
}

torch::Tensor Routing::expert_A() const {
  const auto count_E = offset_E1.slice(0, 1) - offset_E1.slice(0, 0, num_experts());
  return torch::arange(num_experts(), torch::kInt64)
      .repeat_interleave(count_E)
      .to(token_A.device());
}

torch::Tensor Routing::dense(int64_t num_tokens) const {
  return torch::zeros({num_tokens, num_experts()}, weight_A.options())
      .index_put({token_A, expert_A()}, weight_A);
}

}  // namespace evomoe
