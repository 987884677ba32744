#include "evomoe/run/announcements.h"

#include <algorithm>

#include "evomoe/base/log.h"
#include "evomoe/run/schedule_check.h"
#include "evomoe/train/model_options.h"
#include "evomoe/train/optimizer_settings.h"
#include "evomoe/train/task.h"

namespace evomoe {

void announce_run(const TrainOptions& options, const RunData& data, Trainer& trainer,
                  std::optional<int64_t> updates_ahead) {
  int64_t parameters = 0, experts = 0;
  const auto of_model = named_parameters(trainer.model());
  for (const auto& parameter : of_model) {
    parameters += parameter.tensor.numel();
    if (parameter.kind == ParameterKind::kExpert) experts += parameter.tensor.numel();
  }
  const auto symbols = vocabulary_of(*data.task);
  log().info("{}: {} tokens of training text in {} batches per epoch; vocabulary {}", options.data,
             data.task->train(1, options.dataset.train_subset)->tokens(),
             data.batches->batches_per_epoch(),
             symbols.source == symbols.target
                 ? std::to_string(symbols.target)
                 : fmt::format("{} to {}", symbols.source, symbols.target));
  log().info("model {}: {} parameters ({} of experts) on {}, {} thread{}", options.model.arch,
             parameters, experts, trainer.device().str(), at::get_num_threads(),
             at::get_num_threads() == 1 ? "" : "s");
  const auto& ranks = trainer.ranks();
  if (const auto share = ranks.experts->size(); share > 1 && has_experts(options)) {
    log().info("{} ranks; {} of them share the {} experts of each MoE layer", ranks.all->size(),
               share == ranks.all->size() ? "all" : std::to_string(share),
               options.moe.moe_expert_count);
  } else if (ranks.all->size() > 1) {
    log().info("{} ranks, each with {}", ranks.all->size(),
               zero_stage(options.distributed) == 3 ? "its part of the model" : "the whole model");
  }
  const auto& distributed = options.distributed;
  if (distributed.no_reshard_after_forward &&
      (ranks.all->size() == 1 || zero_stage(distributed) < 3))
    log().info("--no-reshard-after-forward has no effect without --zero-stage 3 and several ranks");
  if (distributed.log_all_ranks && (ranks.all->size() == 1 || options.checkpoint.no_save))
    log().info("--log-all-ranks has no effect with one rank, or with --no-save");
  announce_lr_factors(options, of_model);
  announce_frozen(options, of_model);
  log().info("losses are in bits (log base 2), as in fairseq");
  if (trainer.model().moe_layers().empty() && options.model.arch.ends_with("_moe")) {
    const auto kind = trainer.criterion().kind();
    const bool classifies = kind.inner == CriterionKind::Inner::kSentencePrediction;
    log().info(
        "this is a dense model: --arch {} sets no experts. Add --moe-freq 2 --moe-expert-count 8 "
        "--moe-topk-expert --use-gumbel-softmax{} for EvoMoE",
        options.model.arch, classifies ? "" : " --criterion moe_" + options.criterion.criterion);
  }
  if (!updates_ahead || *updates_ahead <= 0) return;
  for (const auto& unfit : unfit_schedules(options, trainer.updates() + *updates_ahead))
    log().warn("{}", unfit);
}

std::string stage_words(const TrainOptions& options, const UpdateResult& result,
                        size_t moe_layers) {
  const auto& flags = options.evolution;
  std::string words;
  if (result.spawned) {
    words = fmt::format(
        "; the shared expert of {} layers became {} experts (--diversify {}, ratio {})", moe_layers,
        experts_at(flags, options.moe.moe_expert_count, flags.shared_expert_updates),
        flags.diversify.operation, flags.diversify.ratio);
    if (flags.evolution_router_init == "kmeans")
      words += "; their routers point to directions of the layers' inputs (k-means)";
  }
  switch (result.stage.stage) {
    case Stage::kSharedExpert:
      return fmt::format("; one expert takes every token, for {} updates",
                         flags.shared_expert_updates);
    case Stage::kDenseToSparse:
      words += flags.gumbel_decay_scheduler == "none"
                   ? fmt::format("; temperature {}", flags.max_temperature)
                   : fmt::format("; temperature {} to {} ({})", flags.max_temperature,
                                 flags.min_temperature, flags.gumbel_decay_scheduler);
      return words + fmt::format(", one expert per token from update {} on",
                                 flags.shared_expert_updates +
                                     std::max<int64_t>(1, flags.switch_to_hard_gumbel_softmax) + 1);
    case Stage::kSparse:
      return words +
             fmt::format("; one expert per token, noise {}", result.stage.schedule.noise_scale);
    case Stage::kConstant:
      break;
  }
  return words;
}

std::string how_to_go_on(const TrainOptions& options) {
  const auto& flags = options.checkpoint;
  if (flags.no_save) return "nothing was saved (--no-save)";
  std::string without;
  const auto leave_out = [&](bool given, const std::string& flag) {
    if (given) without += (without.empty() ? " without " : " and ") + flag;
  };
  leave_out(flags.restore_file != CheckpointOptions().restore_file, "--restore-file");
  leave_out(flags.reset_optimizer, "--reset-optimizer");
  leave_out(flags.reset_dataloader, "--reset-dataloader");
  leave_out(flags.reset_meters, "--reset-meters");
  leave_out(options.resources.profile.has_value(), "--profile");
  if (flags.no_last_checkpoints) without += " with --restore-file and the name of its checkpoint";
  return "run the same command again" + without + " to go on";
}

}  // namespace evomoe
