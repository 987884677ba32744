#include "evomoe/routing/free_experts.h"

#include <cmath>
#include <utility>

#include "evomoe/base/error.h"

namespace evomoe {

FreeExpertRouter::FreeExpertRouter(RouterShape shape, int64_t free_experts, const std::string& flag)
    : Router(std::move(shape)) {
  if (free_experts < 1)
    fail_usage("{} {}: the router `{}` needs at least 1", flag, free_experts, shape_.method);
  add_parameter(free_weight_, "free_weight", torch::zeros({free_experts, shape_.model_dim}));
}

void FreeExpertRouter::initialise(uint64_t seed, int64_t layer) {
  Router::initialise(seed, layer);
  fill_uniform(free_weight_, 1.0 / std::sqrt(static_cast<double>(shape_.model_dim)), seed, layer,
               /*part=*/1);
}

torch::Tensor FreeExpertRouter::all_logits(const torch::Tensor& x_TD) const {
  const auto logits_TE = logits(x_TD);
  const auto type = logits_TE.scalar_type();
  return torch::cat({logits_TE, torch::linear(x_TD.to(type), free_weight_.to(type))}, /*dim=*/1);
}

}  // namespace evomoe
