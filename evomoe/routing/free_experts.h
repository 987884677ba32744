#pragma once

#include "evomoe/routing/router.h"

namespace evomoe {

/// A method whose gate has experts that compute nothing, behind the E that do: null experts (the
/// token is dropped), copies of the token, constants. They are in no Routing's assignments, so they
/// are not dispatched.
class FreeExpertRouter : public Router {
 public:
  /// UsageError: no free expert.
  FreeExpertRouter(RouterShape shape, int64_t free_experts, const std::string& flag);
  void initialise(uint64_t seed, int64_t layer) override;

 protected:
  /// Of the E experts, then the free ones: [T,E+F].
  torch::Tensor all_logits(const torch::Tensor& x_TD) const;
  int64_t free_experts() const { return free_weight_.size(0); }

  torch::Tensor free_weight_;  ///< [F,D], the gate of the free experts
};

}  // namespace evomoe
