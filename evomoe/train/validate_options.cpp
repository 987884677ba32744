#include "evomoe/train/validate_options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "evomoe/base/byte_size.h"
#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/train/task.h"

namespace evomoe {
namespace {

/// --moe-freq of the half of the model that has most experts; 0: none has any.
int64_t largest_moe_freq(const MoeOptions& moe) {
  return std::max({moe.moe_freq, moe.encoder_moe_freq, moe.decoder_moe_freq});
}

/// --moe-freq, or that of one half of the model, as it was given.
std::string moe_freq_flag(const MoeOptions& moe) {
  const auto largest = largest_moe_freq(moe);
  const char* name = moe.moe_freq == largest           ? "moe-freq"
                     : moe.decoder_moe_freq == largest ? "decoder-moe-freq"
                                                       : "encoder-moe-freq";
  return fmt::format("--{} {}", name, largest);
}

/// The flag that makes all of the model's MoE layers dense; empty: some have experts.
std::string densifying_flag(const TrainOptions& options) {
  const auto& moe = options.moe;
  const auto& family = family_of_task(options.task.task);
  const bool decoder = family.decoder && std::max(moe.moe_freq, moe.decoder_moe_freq) > 0;
  const bool encoder = family.encoder && std::max(moe.moe_freq, moe.encoder_moe_freq) > 0;
  const bool dense_decoder = decoder && moe.alternate_decoder_ffn_embed_dim > 0;
  const bool dense_encoder = encoder && moe.alternate_ffn_embed_dim > 0;
  if (decoder != dense_decoder || encoder != dense_encoder) return "";
  return dense_decoder ? fmt::format("--alternate-decoder-ffn-embed-dim {}",
                                     moe.alternate_decoder_ffn_embed_dim)
                       : fmt::format("--alternate-ffn-embed-dim {}", moe.alternate_ffn_embed_dim);
}

void validate_moe(const TrainOptions& options) {
  const auto& moe = options.moe;
  const bool moe_layers = largest_moe_freq(moe) > 0;
  const bool gate_loss = options.criterion.criterion.starts_with("moe_");
  if (!moe_layers) {
    if (moe.moe_expert_count > 0) {
      fail_usage(
          "--moe-expert-count {} without --moe-freq: no layer would be MoE; give --moe-freq 2 for "
          "every other "
          "layer, or leave the count out",
          moe.moe_expert_count);
    }
    if (gate_loss) {
      fail_usage(
          "--criterion {} needs MoE layers; give --moe-freq and --moe-expert-count, or use "
          "--criterion {}",
          options.criterion.criterion, options.criterion.criterion.substr(4));
    }
    return;
  }
  const int64_t experts = moe.moe_expert_count;
  if (experts == 0) {
    fail_usage(
        "{} without --moe-expert-count: give the number of experts of an MoE layer, e.g. "
        "--moe-expert-count 8",
        moe_freq_flag(moe));
  }
  if (moe.topk != -1 && moe.topk != experts) {
    fail_usage(
        "--topk {} is not possible: it is -1 or --moe-expert-count ({}); leave it out{}", moe.topk,
        experts,
        moe.topk < 1 || moe.topk > experts
            ? ""
            : fmt::format(", and for a fixed number of experts per token use --moe-router topk "
                          "--moe-k {} (docs/routing.md)",
                          moe.topk));
  }
  if (moe.alternate_decoder_ffn_embed_dim > 0 && gate_loss &&
      !family_of_task(options.task.task).encoder) {
    fail_usage(
        "--alternate-decoder-ffn-embed-dim {} makes the MoE layers dense, so --criterion {} has no "
        "routers; use --criterion {}",
        moe.alternate_decoder_ffn_embed_dim, options.criterion.criterion,
        options.criterion.criterion.substr(4));
  }
}

void validate_evolution(const TrainOptions& options) {
  const auto updates = options.evolution.shared_expert_updates;
  if (updates == 0) return;
  if (largest_moe_freq(options.moe) == 0) {
    fail_usage(
        "--shared-expert-updates {} needs MoE layers; give --moe-freq and --moe-expert-count",
        updates);
  }
  if (const auto flag = densifying_flag(options); !flag.empty()) {
    fail_usage(
        "--shared-expert-updates {} needs MoE layers, and {} makes them dense; leave one of the "
        "two out",
        updates, flag);
  }
}

void validate_batches(const TrainOptions& options) {
  const auto& dataset = options.dataset;
  if (!dataset.max_tokens && !dataset.batch_size) {
    fail_usage(
        "neither --max-tokens nor --batch-size is given: say how large a micro-batch is, e.g. "
        "--batch-size 8");
  }
  if (options.task.pad_to_fixed_bsz && !dataset.batch_size) {
    fail_usage("--pad-to-fixed-bsz needs --batch-size: the number of sequences to pad to");
  }
}

void validate_checkpoints(const CheckpointOptions& options) {
  if (options.finetune_from_model && options.init_from) {
    fail_usage("--finetune-from-model and --init-from both give the first weights; use one");
  }
  if (!options.finetune_from_model) return;
  if (options.reset_optimizer || options.reset_meters || options.reset_dataloader) {
    fail_usage(
        "--finetune-from-model resets everything but the weights already; leave the --reset-... "
        "flags out");
  }
  if (options.restore_file != CheckpointOptions().restore_file) {
    fail_usage("--finetune-from-model and --restore-file {} both say where the run begins; use one",
               options.restore_file);
  }
}

void validate_resources(const TrainOptions& options) {
  const auto& budget = options.resources.memory_budget;
  if (budget) parse_byte_size(*budget, "--memory-budget");
}

/// A flag of another task would be passed over in silence.
void validate_task(const TrainOptions& options) {
  const auto& task = options.task.task;
  for_each_given(options, [&](const OptionTable&, const Option& option) {
    const auto& tasks = option.tasks();
    if (tasks.empty() || std::ranges::find(tasks, task) != tasks.end()) return;
    fail_usage("--{} is an option of --task {}, and this is --task {}; leave it out", option.name(),
               fmt::join(tasks, " or "), task);
  });
}

void validate_criterion(const TrainOptions& options) {
  const auto& task = find_task(options.task.task).declaration();
  const auto& criterion = options.criterion.criterion;
  const auto& own = task.criterions;
  if (!own.empty() && std::ranges::find(own, criterion) == own.end()) {
    fail_usage("--criterion {} does not go with --task {}; use {}{}{}", criterion, task.name,
               fmt::join(own.begin(), own.end() - 1, ", "), own.size() > 1 ? " or " : "",
               own.back());
  }
  if (const auto others = tasks_of_criterion(criterion); own.empty() && !others.empty()) {
    fail_usage("--criterion {} does not go with --task {}: it needs --task {}", criterion,
               task.name, fmt::join(others, " or "));
  }
  if (criterion.find("label_smoothed") != std::string::npos) return;
  static const std::set<std::string> smoothed = {"label-smoothing", "report-accuracy",
                                                 "ignore-prefix-size"};
  for_each_given(options, [&](const OptionTable& table, const Option& option) {
    if (!smoothed.contains(option.name())) return;
    fail_usage("{} has no effect with --criterion {}; use label_smoothed_cross_entropy",
               table.written(option), criterion);
  });
}

}  // namespace

void validate_options(const TrainOptions& options) {
  validate_task(options);
  validate_criterion(options);
  validate_moe(options);
  validate_evolution(options);
  validate_batches(options);
  find_task(options.task.task).validate(options);
  validate_checkpoints(options.checkpoint);
  validate_resources(options);
}

}  // namespace evomoe
