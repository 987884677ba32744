#include "evomoe/bench/balanced_router.h"

#include <algorithm>
#include <utility>

#include "evomoe/routing/balance.h"
#include "evomoe/routing/registry.h"
#include "evomoe/routing/topk_router.h"

namespace evomoe::bench {
namespace {

class BalancedRouter : public Router {
 public:
  BalancedRouter(RouterShape shape, TopkOptions options)
      : Router(std::move(shape)), options_(options) {}

  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override {
    const auto E = num_experts(), k = options_.k;
    const auto logits_TE = logits(x_TD);
    const auto T = logits_TE.size(0);
    const auto probability_TE = torch::softmax(logits_TE, /*dim=*/1);
    const auto step_K = torch::arange(k, torch::kLong) * std::max<int64_t>(1, E / k);
    const auto expert_TK =
        (torch::arange(T, torch::kLong).unsqueeze(1) + step_K).remainder(E).to(x_TD.device());
    const auto selected_TE =
        torch::zeros_like(logits_TE, torch::kBool).scatter_(1, expert_TK, /*value=*/true);
    auto routing = Routing::from_mask(selected_TE, probability_TE);
    auto balance = balance_loss(probability_TE, selected_TE.sum(0), T);
    balance.value = balance.value / k;
    routing.losses.push_back(std::move(balance));
    complete(routing, logits_TE, probability_TE, selected_TE, valid_rows(context, T));
    return routing;
  }

 private:
  TopkOptions options_;
};

}  // namespace

std::string balanced_router() {
  static const std::string name = [] {
    register_router("debug-balanced", router_method<BalancedRouter, TopkOptions>());
    return std::string("debug-balanced");
  }();
  return name;
}

}  // namespace evomoe::bench
