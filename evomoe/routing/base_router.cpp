// BASE layers, arXiv 2103.16716: a balanced assignment.
#include "evomoe/routing/base_router.h"

#include <algorithm>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/ops/noise.h"
#include "evomoe/routing/assignment.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/selection.h"

namespace evomoe {

void BaseOptions::describe(OptionTable& table) {
  table.group("moe");
  table
      .add("base-assignment", &assignment,
           "base: how the balanced assignment of training is found: by the authors' auction, which "
           "is near the best one, or the best one, on the CPU.")
      .choices({"auction", "optimal"});
}

BaseRouter::BaseRouter(RouterShape shape, BaseOptions options)
    : Router(std::move(shape)), options_(std::move(options)) {
  if (num_experts() < 2) {
    fail_usage("--moe-expert-count {}: the router `base` needs at least 2 experts", num_experts());
  }
}

void BaseRouter::initialise(uint64_t seed, int64_t layer) {
  Router::initialise(seed, layer);
  const torch::NoGradGuard no_grad;
  const auto E = gate_weight_.size(0), D = gate_weight_.size(1);
  NoiseKey key;
  key.seed = seed;
  key.layer = static_cast<uint32_t>(layer);
  key.site = NoiseSite::kInitialisation;
  key.update = 1000;  // beside the keys of all that is uniform
  const auto noise = normal_noise(std::max(E, D), std::min(E, D), key, torch::kCPU);
  auto [orthogonal, upper] = torch::linalg_qr(noise.to(torch::kFloat64));
  orthogonal = orthogonal * upper.diagonal().sign();
  gate_weight_.copy_(0.1 * (E < D ? orthogonal.t() : orthogonal));
}

Routing BaseRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  const auto T = logits_TE.size(0);
  const auto routed_T = routed_rows(context, T);
  auto expert_T = logits_TE.detach().argmax(/*dim=*/1);
  if (context.training) {
    const torch::NoGradGuard no_grad;
    const auto assign = options_.assignment == "optimal" ? optimal_assignment : auction_assignment;
    if (routed_T.defined()) {
      const auto row_N = routed_T.nonzero().squeeze(1);
      expert_T.index_copy_(0, row_N, assign(logits_TE.index_select(0, row_N)));
    } else {
      expert_T = assign(logits_TE);
    }
  }
  auto selected_TE = selection_mask(expert_T.unsqueeze(1), num_experts());
  selected_TE = only_rows(selected_TE, routed_T);
  auto routing = Routing::from_mask(selected_TE, torch::sigmoid(logits_TE));
  routing.losses.push_back(no_balance_loss(logits_TE));
  complete(routing, logits_TE, torch::softmax(logits_TE, /*dim=*/1), selected_TE,
           valid_rows(context, T));
  return routing;
}

}  // namespace evomoe
