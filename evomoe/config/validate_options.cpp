#include "evomoe/config/validate_options.h"

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

void validate_moe(const TrainOptions& options) {
  const auto& moe = options.moe;
  if (moe.moe_freq == 0) {
    if (moe.moe_expert_count > 0) {
      fail_usage(
          "--moe-expert-count {} without --moe-freq: no layer would be MoE; give --moe-freq 2 for "
          "every other "
          "layer, or leave the count out",
          moe.moe_expert_count);
    }
    if (options.criterion.criterion == "moe_cross_entropy") {
      fail_usage(
          "--criterion moe_cross_entropy needs MoE layers; give --moe-freq and --moe-expert-count, "
          "or use "
          "--criterion cross_entropy");
    }
    return;
  }
  const int64_t experts = moe.moe_expert_count;
  if (experts == 0) {
    fail_usage(
        "--moe-freq {} without --moe-expert-count: give the number of experts of an MoE layer, "
        "e.g. "
        "--moe-expert-count 8",
        moe.moe_freq);
  }
  if (options.model.decoder_layers && moe.moe_freq > *options.model.decoder_layers) {
    fail_usage("--moe-freq {} is more than --decoder-layers {}: no layer would be MoE",
               moe.moe_freq, *options.model.decoder_layers);
  }
  if (moe.topk != -1 && moe.topk != experts) {
    fail_usage(
        "--topk {} is not possible: it is -1 or --moe-expert-count ({}); for a fixed number of "
        "experts per token use --moe-k {} and a --moe-router that heeds it (docs/routing.md)",
        moe.topk, experts, moe.topk);
  }
  if (moe.alternate_decoder_ffn_embed_dim > 0 &&
      options.criterion.criterion == "moe_cross_entropy") {
    fail_usage(
        "--alternate-decoder-ffn-embed-dim {} makes the MoE layers dense, so --criterion "
        "moe_cross_entropy has no "
        "routers; use --criterion cross_entropy",
        moe.alternate_decoder_ffn_embed_dim);
  }
}

void validate_evolution(const TrainOptions& options) {
  const auto& evolution = options.evolution;
  if (evolution.max_temperature <= 0) {
    fail_usage("--max-temperature {} must be above 0", evolution.max_temperature);
  }
  if (evolution.min_temperature <= 0) {
    fail_usage("--min-temperature {} must be above 0", evolution.min_temperature);
  }
  if (evolution.min_temperature > evolution.max_temperature) {
    fail_usage("--min-temperature {} is above --max-temperature {}: the temperature can only fall",
               evolution.min_temperature, evolution.max_temperature);
  }
  if (evolution.switch_to_hard_gumbel_softmax < -1) {
    fail_usage(
        "--switch-to-hard-gumbel-softmax {} lies before the experts are spawned; it counts updates "
        "from the spawn, "
        "and -1 or 0 is the earliest",
        evolution.switch_to_hard_gumbel_softmax);
  }
  if (evolution.sparse_stage_noise < 0 || evolution.sparse_stage_noise > 1) {
    fail_usage(
        "--sparse-stage-noise {} must be from 0 (the most probable expert) to 1 (a sampled one)",
        evolution.sparse_stage_noise);
  }
  if (evolution.use_gumbel_gates && !evolution.use_gumbel_softmax) {
    fail_usage(
        "--use-gumbel-gates does nothing without --use-gumbel-softmax, which gives the noise its "
        "temperature; add it, or leave the former out");
  }
  const double ratio = evolution.diversify_ratio;
  if (evolution.diversify == "mask" && ratio >= 1) {
    fail_usage(
        "--diversify-ratio {} would mask whole experts; with --diversify mask it must be below 1",
        ratio);
  }
  if (evolution.diversify == "drop-upcycling" && ratio > 1) {
    fail_usage(
        "--diversify-ratio {} is more than all hidden units; with --diversify drop-upcycling it is "
        "from 0 to 1",
        ratio);
  }
  if (evolution.diversify_rescale && evolution.diversify != "mask") {
    fail_usage("--diversify-rescale is for --diversify mask, not {}; leave it out",
               evolution.diversify);
  }
  if (evolution.shared_expert_updates == 0) return;
  const auto& moe = options.moe;
  if (moe.moe_freq == 0 || moe.alternate_decoder_ffn_embed_dim > 0) {
    fail_usage(
        "--shared-expert-updates {} needs MoE layers; give --moe-freq and --moe-expert-count",
        evolution.shared_expert_updates);
  }
}

void validate_lengths(const TrainOptions& options) {
  const auto& task = options.task;
  const auto& positions = options.model.max_target_positions;
  if (positions && task.tokens_per_sample > *positions) {
    fail_usage(
        "--tokens-per-sample {} is more than --max-target-positions {}: the model has no position "
        "for the last "
        "tokens; raise the latter or lower the former",
        task.tokens_per_sample, *positions);
  }
  const auto& dataset = options.dataset;
  if (!dataset.max_tokens && !dataset.batch_size) {
    fail_usage(
        "neither --max-tokens nor --batch-size is given: say how large a micro-batch is, e.g. "
        "--batch-size 8");
  }
  if (dataset.max_tokens && task.sample_break_mode == "none" &&
      *dataset.max_tokens < task.tokens_per_sample) {
    fail_usage(
        "--max-tokens {} is less than --tokens-per-sample {}: not even one sequence fits into a "
        "micro-batch",
        *dataset.max_tokens, task.tokens_per_sample);
  }
  if (task.pad_to_fixed_bsz && !dataset.batch_size) {
    fail_usage("--pad-to-fixed-bsz needs --batch-size: the number of sequences to pad to");
  }
}

void validate_schedule(const OptimizationOptions& options) {
  for (const double beta : options.adam_betas) {
    if (beta >= 1) fail_usage("--adam-betas: {} must be below 1", beta);
  }
  const int64_t warmup = options.effective_warmup_updates();
  if (options.lr_scheduler == "polynomial_decay") {
    const int64_t total = options.total_num_update.value_or(options.max_update);
    if (total == 0) {
      fail_usage(
          "--lr-scheduler polynomial_decay needs --total-num-update or --max-update: the update at "
          "which the rate "
          "reaches its end");
    }
    if (warmup > total) {
      fail_usage(
          "--warmup-updates {} is more than the {} updates of the schedule (--total-num-update, "
          "else --max-update)",
          warmup, total);
    }
  }
  if (options.lr_scheduler == "cosine") {
    if (options.lr_period_updates <= 0 && options.max_update <= warmup) {
      fail_usage(
          "--lr-scheduler cosine needs --lr-period-updates, or --max-update ({}) above "
          "--warmup-updates ({})",
          options.max_update, warmup);
    }
    if (options.min_lr > options.lr.front()) {
      fail_usage("--min-lr {} is above --lr {}", options.min_lr, options.lr.front());
    }
  }
  const bool one_rate = options.lr_scheduler == "inverse_sqrt" || options.lr_scheduler == "cosine";
  if (one_rate && options.lr.size() > 1) {
    fail_usage(
        "--lr-scheduler {} takes one --lr, not {}; rates by epoch are for fixed and "
        "polynomial_decay",
        options.lr_scheduler, options.lr.size());
  }
}

void validate_checkpoints(const CheckpointOptions& options) {
  if (options.finetune_from_model && options.init_from) {
    fail_usage("--finetune-from-model and --init-from both give the first weights; use one");
  }
  if (!options.finetune_from_model) return;
  if (options.reset_optimizer || options.reset_meters ||
      options.reset_dataloader) {
    fail_usage(
        "--finetune-from-model resets everything but the weights already; leave the --reset-... "
        "flags out");
  }
  if (options.restore_file != CheckpointOptions().restore_file) {
    fail_usage("--finetune-from-model and --restore-file {} both say where the run begins; use one",
               options.restore_file);
  }
}

void validate_bpe_files(const BpeFiles& files) {
  const bool both = files.gpt2_encoder_json && files.gpt2_vocab_bpe;
  if (files.bpe && !both) {
    fail_usage(
        "--bpe {} needs --gpt2-encoder-json and --gpt2-vocab-bpe (`evomoe bpe train` makes both)",
        *files.bpe);
  }
  if (!files.bpe && (files.gpt2_encoder_json || files.gpt2_vocab_bpe)) {
    fail_usage("--gpt2-encoder-json and --gpt2-vocab-bpe need --bpe gpt2");
  }
}

}  // namespace

void validate_options(const TrainOptions& options) {
  validate_moe(options);
  validate_evolution(options);
  validate_lengths(options);
  validate_schedule(options.optimization);
  validate_checkpoints(options.checkpoint);
}

void validate_options(const EvalOptions& options) {
  validate_bpe_files(options.bpe);
  if (options.tokens_per_sample && options.context_window >= *options.tokens_per_sample) {
    fail_usage(
        "--context-window {} leaves no token to score of --tokens-per-sample {}; make it smaller",
        options.context_window, *options.tokens_per_sample);
  }
}

void validate_options(const GenerateOptions& options) {
  validate_bpe_files(options.bpe);
  if (options.min_len > options.max_len) {
    fail_usage("--min-len {} is more than --max-len {}", options.min_len, options.max_len);
  }
  const bool filtered = options.sampling_topk != -1 || options.sampling_topp >= 0;
  if (filtered && !options.sampling) {
    fail_usage(
        "--sampling-topk and --sampling-topp need --sampling; without it the most probable token "
        "is taken");
  }
  if (options.sampling_topk == 0)
    fail_usage("--sampling-topk 0 leaves no token; use -1 for all, or at least 1");
  if (options.sampling_topp == 0)
    fail_usage("--sampling-topp 0 leaves no token; use -1 for all, or more than 0");
  if (options.num_samples > 1 && !options.sampling) {
    fail_usage("--num-samples {} needs --sampling; without it all would be equal",
               options.num_samples);
  }
}

void validate_options(const PreprocessFlags& options) {
  validate_bpe_files(options.bpe);
  if (!options.only_source) {
    fail_usage("evomoe preprocess: give --only-source; data of language pairs is not supported");
  }
  if (!options.trainpref && !options.srcdict) {
    fail_usage(
        "neither --trainpref nor --srcdict is given: there is nothing to make a dictionary from");
  }
  if (!options.trainpref && !options.validpref && !options.testpref) {
    fail_usage(
        "none of --trainpref, --validpref and --testpref is given: there is no text to convert");
  }
}

void validate_options(const BpeFlags& options) {
  const bool both = options.gpt2_encoder_json && options.gpt2_vocab_bpe;
  if (options.action != "train" && !both) {
    fail_usage(
        "evomoe bpe {} needs --gpt2-encoder-json and --gpt2-vocab-bpe (`evomoe bpe train` makes "
        "both)",
        options.action);
  }
}

}  // namespace evomoe
