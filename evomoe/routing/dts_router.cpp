// EvoMoE, arXiv 2112.14397: the dense-to-sparse gate.
#include "evomoe/routing/dts_router.h"

#include "evomoe/routing/balance.h"
#include "evomoe/routing/router_stats.h"

namespace evomoe {

Routing DtsRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  return context.training ? route_dense_to_sparse(logits_TE, context)
                          : route_top1(logits_TE, context);
}

Routing DtsRouter::route_dense_to_sparse(const torch::Tensor& logits_TE,
                                         const RoutingContext& context) const {
  const int64_t num_tokens = logits_TE.size(0);
  const auto valid_T = valid_rows(context, num_tokens);
  const auto probability_TE = torch::softmax(logits_TE, /*dim=*/1);
  Routing routing;
  torch::Tensor selected_TE;
  if (schedule_.temperature > 0) {
    const auto noise_TE = gate_noise(context.gumbel_TE, NoiseSite::kGateGumbel, logits_TE, context);
    const auto noisy_TE = torch::softmax(
        (logits_TE + schedule_.noise_scale * noise_TE) / schedule_.temperature, /*dim=*/1);
    // The selection is a constant: no straight-through gradient. Strictly greater, so a threshold
    // of 0 leaves out experts whose value underflows.
    if (schedule_.hard) {
      selected_TE = torch::zeros_like(logits_TE, torch::kBool)
                        .scatter_(1, noisy_TE.argmax(1, /*keepdim=*/true), /*value=*/true);
    } else {
      selected_TE = noisy_TE.detach() > options_.threshold;
    }
    auto weight_TE = (options_.gumbel_gates ? noisy_TE : probability_TE) * selected_TE;
    if (options_.normalize_dts) {
      // A token without an expert (a threshold above 1/E) has no weights to divide.
      const auto sum_T1 = weight_TE.sum(1, /*keepdim=*/true);
      weight_TE = weight_TE / sum_T1.masked_fill(sum_T1 == 0, 1);
    }
    routing = Routing::from_mask(selected_TE, weight_TE);
    // The reference balances the masked weights here, not the full softmax.
    routing.losses.push_back(balance_loss(weight_TE, selected_TE.sum(0), num_tokens));
    complete(routing, logits_TE, probability_TE, selected_TE, valid_T);
    routing.stats.reference.emplace_back("gumbel_choosed_experts",
                                         selected_TE.sum().to(torch::kFloat32));
    routing.stats.reference.emplace_back("entropy_gating", entropy_T(weight_TE).mean());
  } else {
    selected_TE = torch::ones_like(logits_TE, torch::kBool);
    routing = Routing::from_mask(selected_TE, probability_TE);
    routing.losses.push_back(no_balance_loss(probability_TE));
    complete(routing, logits_TE, probability_TE, selected_TE, valid_T);
    routing.stats.reference.emplace_back("entropy_gating", entropy_T(probability_TE).mean());
  }
  return routing;
}

std::optional<int64_t> DtsRouter::capacity(int64_t num_rows, bool training) const {
  // Evaluation is the reference's top-1 gate with a factor of E: without a fraction it holds every
  // token.
  return training ? std::nullopt : evaluation_capacity(num_rows);
}

}  // namespace evomoe
