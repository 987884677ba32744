#include "evomoe/hub/evaluation_topk.h"

#include "evomoe/routing/dts_router.h"
#include "evomoe/routing/gshard_router.h"
#include "evomoe/routing/topk_router.h"

namespace evomoe {
namespace {

std::optional<EvaluationTopk> without_capacity(const RouterOptions& router) {
  if (router.method == "switch") return EvaluationTopk{.k = 1, .normalized = false};
  if (router.method == "gshard") return EvaluationTopk{.k = 2, .normalized = true};
  if (router.method == "topk") {
    const auto& topk = router.get<TopkOptions>();
    return EvaluationTopk{.k = topk.k, .normalized = !topk.no_normalize};
  }
  if (router.method == "dts") {
    const auto& dts = router.get<DtsOptions>();
    return EvaluationTopk{.k = dts.final_k,
                          .normalized = dts.normalize_weights || dts.scale_weights};
  }
  return std::nullopt;
}

}  // namespace

std::optional<EvaluationTopk> evaluation_topk(const RouterOptions& router, std::string* why_not) {
  const auto refuse = [&](const char* reason) {
    if (why_not != nullptr) *why_not = reason;
    return std::nullopt;
  };
  const auto topk = without_capacity(router);
  if (!topk) return refuse("its router is --moe-router topk, switch, gshard or dts");
  const auto& capacity = router.get<CapacityOptions>();
  if (capacity.eval_fraction >= 1) return topk;  // an expert holds every token
  if (router.method == "dts") {
    if (capacity.eval_fraction <= 0) return topk;
    return refuse("it drops no tokens in evaluation (--moe-eval-capacity-token-fraction -1)");
  }
  if (capacity.train_factor <= 0) return topk;
  return refuse("it drops no tokens (--moe-train-capacity-token-fraction 0)");
}

}  // namespace evomoe
