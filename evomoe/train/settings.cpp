#include "evomoe/train/settings.h"

#include <ATen/Parallel.h>
#include <fmt/ranges.h>

#include <functional>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/config/option_table.h"
#include "evomoe/routing/registry.h"
#include "evomoe/routing/switch_router.h"
#include "evomoe/train/optimizer_settings.h"

namespace evomoe {
namespace {

/// The flags of some options that are given.
std::vector<std::string> given_flags(const TrainOptions& options,
                                     const std::function<bool(const Option&)>& wanted) {
  std::vector<std::string> flags;
  for_each_given(options, [&](const OptionTable& table, const Option& option) {
    if (wanted(option)) flags.push_back(table.written(option));
  });
  return flags;
}

/// Is it of experts, routing or evolution?
bool is_of_moe(const Option& option) {
  const auto& name = option.name();
  if (name == "validate-routing") return false;  // it names a dense model's lines as well
  return option.group() == "moe" || option.group() == "evolution" || name.starts_with("moe-");
}

bool refines_eval_bleu(const Option& option) {
  return option.name().starts_with("eval-bleu-") || option.name() == "eval-tokenized-bleu";
}

/// As fairseq, a run without --eval-bleu takes what refines it.
void check_bleu(const TrainOptions& options) {
  if (options.task.bleu.eval_bleu) return;
  const auto flags = given_flags(options, refines_eval_bleu);
  if (flags.empty()) return;
  log().info("{} {} no effect without --eval-bleu", fmt::join(flags, ", "),
             flags.size() == 1 ? "has" : "have");
}

/// The flags of the reference that are given and have no effect with this router.
std::vector<std::string> flags_without_effect(const TrainOptions& options, const Router& router) {
  const auto names =
      options_without_effect(router_options(options, router.shape().model_dim), router);
  const bool gumbel = options.evolution.use_gumbel_softmax;
  // Where a method takes both of these two, each needs the other.
  const bool takes_gates = method_uses(options.moe.moe_router, typeid(GumbelGateOptions));
  std::vector<std::string> flags;
  for_each_given(options, [&](const OptionTable& table, const Option& option) {
    const auto& name = option.name();
    if (names.contains(name)) {
      flags.push_back(table.written(option));
    } else if (name == "use-gumbel-softmax" && !router.follows_schedule()) {
      flags.push_back(takes_gates ? "--use-gumbel-softmax without --use-gumbel-gates"
                                  : "--use-gumbel-softmax");
    } else if (name == "use-gumbel-gates" && !gumbel) {
      flags.push_back("--use-gumbel-gates without --use-gumbel-softmax");
    }
  });
  return flags;
}

}  // namespace

void check_settings(const TrainOptions& options) {
  check_model(options);
  options.optimization.validate();
  check_optimizer(options);
  validate(options.evolution);
  check_router(options);
  check_bleu(options);
}

void check_router(const TrainOptions& options) {
  const auto& moe = options.moe;
  if (!has_experts(options)) {
    if (moe.moe_freq > 0) return;  // --alternate-decoder-ffn-embed-dim: dense ones in their place
    const auto flags = given_flags(options, is_of_moe);
    if (!flags.empty()) {
      log().info("this is a dense model: {} {} no effect without --moe-freq and --moe-expert-count",
                 fmt::join(flags, ", "), flags.size() == 1 ? "has" : "have");
    }
    return;
  }
  check_growth(options.evolution, moe.moe_expert_count);
  for (const auto experts : options.evolution.growth_experts) {
    auto fewer = router_options(options, embed_dim_of(options));
    fewer.num_experts = experts;
    if (const auto reason = make_router(fewer)->cannot_grow(); !reason.empty()) {
      fail_usage("--growth-experts {} with --moe-router {}: {}; choose another router",
                 fmt::join(options.evolution.growth_experts, ","), moe.moe_router, reason);
    }
  }
  const auto router = make_router(router_options(options, embed_dim_of(options)));
  const auto shared_updates = options.evolution.shared_expert_updates;
  if (shared_updates > 0 && router->capacity(options.task.tokens_per_sample, /*training=*/true)) {
    fail_usage(
        "--shared-expert-updates {} with --moe-router {}: after the spawn its experts would drop "
        "tokens that all had the shared expert; make it dropless with "
        "--moe-train-capacity-token-fraction 0, or use the dense-to-sparse gate "
        "(--moe-topk-expert)",
        shared_updates, moe.moe_router);
  }
  if (const auto reason = router->sees_future(); !reason.empty() && has_causal_experts(options)) {
    fail_usage(
        "--moe-router {} with --task {}: {}, which a causal model must not see; use it for "
        "masked_lm, or choose another router (docs/routing.md)",
        moe.moe_router, options.task.task, reason);
  }
  const auto flags = flags_without_effect(options, *router);
  if (!flags.empty()) {
    log().info("{} {} no effect with --moe-router {} (docs/routing.md)", fmt::join(flags, ", "),
               flags.size() == 1 ? "has" : "have", moe.moe_router);
  }
}

torch::Device use_device(const CommonOptions& options) {
  if (options.threads > 0) at::set_num_threads(static_cast<int>(options.threads));
  if (options.device == "cpu") return torch::kCPU;
  if (torch::cuda::is_available()) return torch::kCUDA;
  if (options.device == "cuda") {
    fail_usage(
        "--device cuda: this LibTorch sees no CUDA device; use --device cpu, or point EVOMOE_TORCH "
        "to a CUDA build");
  }
  return torch::kCPU;
}

}  // namespace evomoe
