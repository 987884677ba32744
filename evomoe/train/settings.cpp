#include "evomoe/train/settings.h"

#include <ATen/Parallel.h>
#include <fmt/ranges.h>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/config/describe.h"
#include "evomoe/data/dictionary.h"
#include "evomoe/models/architectures.h"
#include "evomoe/routing/registry.h"

namespace evomoe {
namespace {

/// The flags of experts, routing and evolution that are given, that is, differ from their defaults.
std::vector<std::string> moe_flags(TrainOptions options) {
  TrainOptions plain;
  OptionTable defaults("train", ""), table("train", "");
  describe(defaults, plain);
  describe(table, options);
  std::vector<std::string> flags;
  for (const auto& option : table.options()) {
    const auto& name = option->name();
    const bool of_moe =
        option->group() == "moe" || option->group() == "evolution" || name.starts_with("moe-");
    // Of a dense model as well: it names the validation's lines.
    if (!of_moe || name == "validate-routing") continue;
    if (option->value() != defaults.at(name).value()) flags.push_back(table.written(*option));
  }
  return flags;
}

}  // namespace

GptOptions gpt_options(const TrainOptions& options, int64_t vocab_size, int64_t padding_index,
                       bool shared_expert) {
  const auto& model = options.model;
  const auto& moe = options.moe;
  const auto& architecture = find_architecture(model.arch);
  GptOptions gpt;
  gpt.vocab_size = vocab_size;
  gpt.padding_index = padding_index;
  gpt.layers = model.decoder_layers.value_or(architecture.layers);
  gpt.embed_dim = model.decoder_embed_dim.value_or(architecture.embed_dim);
  gpt.ffn_dim = model.decoder_ffn_embed_dim.value_or(architecture.ffn_dim);
  gpt.heads = model.decoder_attention_heads.value_or(architecture.heads);
  gpt.max_positions = model.max_target_positions.value_or(options.task.tokens_per_sample) +
                      (options.task.add_bos_token ? 1 : 0);
  gpt.activation = model.activation_fn.value_or(architecture.activation);
  gpt.dropout = model.dropout.value_or(architecture.dropout);
  gpt.attention_dropout = model.attention_dropout.value_or(architecture.attention_dropout);
  gpt.activation_dropout = model.activation_dropout.value_or(architecture.activation_dropout);
  gpt.learned_positions = model.decoder_learned_pos.value_or(architecture.learned_positions);
  gpt.no_positions = model.no_token_positional_embeddings.value_or(false);
  gpt.tie_embeddings = architecture.tied || model.share_decoder_input_output_embed.value_or(false);
  gpt.scale_embedding = !model.no_scale_embedding.value_or(false);
  gpt.final_norm = !model.no_decoder_final_norm.value_or(false);
  gpt.checkpoint_activations = model.checkpoint_activations;
  gpt.moe_freq = moe.moe_freq;
  gpt.dense_ffn_dim_of_moe_layers = moe.alternate_decoder_ffn_embed_dim;

  gpt.moe.router = router_options(options, gpt.embed_dim);
  gpt.moe.recompute_experts = moe.recompute_experts;
  gpt.moe.shared_expert = shared_expert;
  return gpt;
}

RouterOptions router_options(const TrainOptions& options, int64_t embed_dim) {
  const auto& moe = options.moe;
  const auto& evolution = options.evolution;
  RouterOptions router;
  router.method = moe.moe_router;
  router.model_dim = embed_dim;
  router.num_experts = moe.moe_expert_count;
  router.k = moe.moe_k;
  router.normalize_topk = !moe.moe_no_normalize_topk;
  router.train_capacity_factor = moe.moe_train_capacity_token_fraction;
  router.eval_capacity_fraction = moe.moe_eval_capacity_token_fraction;
  router.drop_policy = moe.moe_drop_policy;
  router.second_expert_policy = moe.moe_second_expert_policy;
  router.normalize_before_dropping = moe.moe_normalize_gate_prob_before_dropping;
  router.batch_prioritized = moe.moe_batch_prioritized_routing;
  router.gumbel_softmax = evolution.use_gumbel_softmax;
  router.gumbel_gates = evolution.use_gumbel_gates;
  router.threshold = evolution.dts_threshold;
  router.normalize_dts = evolution.dts_normalize_weights;
  router.z_loss_weight = options.criterion.moe_z_loss_wt;
  return router;
}

void check_settings(const TrainOptions& options) {
  gpt_options(options, /*vocab_size=*/0, Dictionary::kPad, /*shared_expert=*/false).validate();
  lr_schedule_options(options).validate();
  adam_options(options).validate();
  validate(evolution_options(options));
  validate(diversify_options(options));
  check_router(options);
}

void check_router(const TrainOptions& options) {
  const auto& moe = options.moe;
  if (moe.moe_freq == 0) {
    const auto flags = moe_flags(options);
    if (!flags.empty()) {
      log().info("this is a dense model: {} {} no effect without --moe-freq and --moe-expert-count",
                 fmt::join(flags, ", "), flags.size() == 1 ? "has" : "have");
    }
    return;
  }
  if (moe.alternate_decoder_ffn_embed_dim > 0) return;
  const auto embed_dim =
      options.model.decoder_embed_dim.value_or(find_architecture(options.model.arch).embed_dim);
  const auto router = make_router(router_options(options, embed_dim));
  const auto shared_updates = options.evolution.shared_expert_updates;
  if (shared_updates > 0 && router->capacity(options.task.tokens_per_sample, /*training=*/true)) {
    fail_usage(
        "--shared-expert-updates {} with --moe-router {}: after the spawn its experts would drop "
        "tokens that all had the shared expert; make it dropless with "
        "--moe-train-capacity-token-fraction 0, or use the dense-to-sparse gate "
        "(--moe-topk-expert)",
        shared_updates, moe.moe_router);
  }
  const auto& unheeded = router->unheeded_flags();
  if (!unheeded.empty()) {
    log().info("{} {} no effect with --moe-router {} (docs/routing.md)", fmt::join(unheeded, ", "),
               unheeded.size() == 1 ? "has" : "have", moe.moe_router);
  }
}

EvolutionOptions evolution_options(const TrainOptions& options) {
  const auto& flags = options.evolution;
  EvolutionOptions evolution;
  evolution.shared_expert_updates = flags.shared_expert_updates;
  evolution.use_gumbel_softmax = flags.use_gumbel_softmax;
  evolution.decay = flags.gumbel_decay_scheduler == "none" ? "" : flags.gumbel_decay_scheduler;
  evolution.decay_factor = flags.gumbel_decay_factor;
  evolution.max_temperature = flags.max_temperature;
  evolution.min_temperature = flags.min_temperature;
  evolution.switch_to_hard = flags.switch_to_hard_gumbel_softmax;
  evolution.sparse_stage_noise = flags.sparse_stage_noise;
  evolution.sparse_noise_decay = flags.sparse_noise_decay;
  return evolution;
}

DiversifyOptions diversify_options(const TrainOptions& options) {
  const auto& flags = options.evolution;
  DiversifyOptions diversify;
  diversify.operation = flags.diversify;
  diversify.ratio = flags.diversify_ratio;
  diversify.rescale = flags.diversify_rescale;
  diversify.keep_first = flags.diversify_keep_first;
  return diversify;
}

AdamOptions adam_options(const TrainOptions& options) {
  const auto& flags = options.optimization;
  return {.beta1 = flags.adam_betas.at(0),
          .beta2 = flags.adam_betas.at(1),
          .eps = flags.adam_eps,
          .weight_decay = flags.weight_decay};
}

LrScheduleOptions lr_schedule_options(const TrainOptions& options) {
  const auto& flags = options.optimization;
  LrScheduleOptions schedule;
  schedule.kind = flags.lr_scheduler;
  schedule.lr = flags.lr;
  schedule.warmup_updates = flags.effective_warmup_updates();
  schedule.warmup_init_lr = flags.warmup_init_lr;
  schedule.total_num_update = flags.total_num_update.value_or(0);
  schedule.end_learning_rate = flags.end_learning_rate;
  schedule.power = flags.power;
  schedule.lr_shrink = flags.lr_shrink;
  schedule.force_anneal = flags.force_anneal;
  schedule.min_lr = flags.min_lr;
  schedule.lr_period_updates = std::max<int64_t>(flags.lr_period_updates, 0);
  schedule.t_mult = flags.t_mult;
  schedule.max_update = flags.max_update;
  return schedule;
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
