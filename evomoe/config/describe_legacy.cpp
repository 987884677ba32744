// Flags of the reference's programs that old command lines carry and that have no counterpart here:
// what all programs that compute have. Of training alone: describe_legacy_training.cpp.
#include <set>

#include "evomoe/config/describe.h"
#include "evomoe/config/describe_groups.h"
#include "evomoe/config/legacy_flags.h"

namespace evomoe {
namespace {

constexpr const char* kOneProcess = "a run is one process: there is nothing to communicate";

void describe_common(LegacyFlags flags) {
  flags.passed_over({"fp16", "memory-efficient-fp16", "bf16", "memory-efficient-bf16"},
                    "numbers are float32, which is more exact and needs more memory");
  flags.passed_over({"fp16-no-flatten-grads"}, "the optimiser works in float32");
  flags.passed_over_with_value({"fp16-init-scale", "fp16-scale-window", "fp16-scale-tolerance",
                                "min-loss-scale", "threshold-loss-scale"},
                               "training is in float32, which needs no loss scale");
  flags.passed_over({"no-progress-bar"}, "the live line appears on a terminal only");
  flags.passed_over_with_value({"log-interval", "log-format"},
                               "the result is printed when it is complete");
  flags.passed_over_with_value({"seed"}, "nothing is drawn at random");
  flags.passed_over({"cpu"}, "it is always done on the CPU");
  flags.passed_over({"tpu"}, "there is no TPU here");
  flags.passed_over_with_value({"tensorboard-logdir", "wandb-project"},
                               "the run folder's log.jsonl has the same values");
  flags.passed_over({"azureml-logging"}, "the run folder's log.jsonl has the same values");
  flags.passed_over_with_value({"log-file"}, "the run folder's log.jsonl is always written");
  flags.passed_over({"log-nvidia-smi"}, "run nvidia-smi beside it");
  flags.passed_over({"use-plasma-view"}, "data files are mapped, and so shared, as they are");
  flags.passed_over_with_value({"plasma-path"},
                               "data files are mapped, and so shared, as they are");
  flags.passed_over_with_value({"empty-cache-freq"}, "the allocator needs no emptying");
  flags.passed_over({"suppress-crashes", "no-seed-provided"},
                    "it concerns the reference's process only");
  flags.passed_over({"reset-logging", "profile"}, "it concerns the reference's process only");
  flags.passed_over({"multirun", "m"}, "one run is made; there are no sweeps over lists of values");
  flags.refused_with_value({"quantization-config-path"},
                           "quantised training is not supported; leave it out");
  flags.refused_with_value(
      {"user-dir"},
      "there are no Python plug-ins; docs/routing.md shows how a routing method is added");
}

void describe_distributed(LegacyFlags flags) {
  flags.passed_over_with_value(
      {"distributed-world-size", "distributed-num-procs", "model-parallel-size"},
      "a run is one process, so only 1 is possible: leave the flag out, and start one process "
      "(parallel training is not there yet)",
      {"1"});
  flags.passed_over_with_value({"distributed-rank", "device-id", "local-rank"},
                               "a run is one process; only 0 is possible", {"0"});
  flags.passed_over_with_value(
      {"ddp-backend", "distributed-backend", "distributed-init-method", "distributed-port",
       "bucket-cap-mb", "all-gather-list-size", "slowmo-momentum", "slowmo-algorithm",
       "localsgd-frequency", "heartbeat-timeout", "nprocs-per-node", "distributed-wrapper",
       "ddp-comm-hook", "zero-sharding"},
      kOneProcess);
  flags.passed_over({"distributed-no-spawn", "find-unused-parameters", "fast-stat-sync",
                     "broadcast-buffers", "fix-batches-to-gpus", "no-reshard-after-forward",
                     "use-sharded-state", "fp32-reduce-scatter", "cpu-offload"},
                    kOneProcess);
  flags.refused({"pipeline-model-parallel"}, "a run is one process; leave the flag out");
  flags.passed_over_with_value({"pipeline-checkpoint"}, "there is no pipeline parallelism",
                               {"never"});
  flags.passed_over_with_value({"pipeline-chunks"}, "there is no pipeline parallelism", {"0"});
  flags.refused_with_value(
      {"pipeline-balance", "pipeline-devices", "pipeline-encoder-balance",
       "pipeline-encoder-devices", "pipeline-decoder-balance", "pipeline-decoder-devices"},
      "there is no pipeline parallelism; leave the flag out");
}

void describe_dataset(LegacyFlags flags) {
  flags.passed_over_with_value({"num-workers"}, "batches are made where they are read");
  flags.passed_over_with_value({"num-workers-valid"},
                               "--num-workers decides for validation too, where a command has it");
  flags.passed_over_with_value({"data-buffer-size"},
                               "--num-workers decides how far ahead batches are prepared");
  flags.passed_over_with_value({"dataset-impl"}, "the format is recognised from the file");
  flags.passed_over_with_value({"fixed-validation-seed"},
                               "validation's noise, if any, follows from --seed and the update");
  flags.passed_over_with_value({"required-seq-len-multiple"},
                               "lengths are not rounded; only 1 is possible", {"1"});
  flags.passed_over_with_value({"gen-subset"}, "it is for eval-lm and generate");
  flags.passed_over_with_value({"num-shards"}, "a run is one process; only 1 is possible", {"1"});
  flags.passed_over_with_value({"shard-id"}, "a run is one process; only 0 is possible", {"0"});
}

void describe_checkpoints(LegacyFlags flags) {
  flags.passed_over({"reset-lr-scheduler"},
                    "the learning rate is a function of update and epoch, of which nothing is "
                    "stored");
  flags.passed_over({"save-trace"}, "it had no effect in the reference");
  flags.passed_over_with_value({"checkpoint-suffix"}, "the layout is recognised from the files");
  flags.passed_over_with_value({"checkpoint-shard-count"},
                               "the layout is recognised from the files; only 1 is possible",
                               {"1"});
  flags.passed_over({"load-checkpoint-on-all-dp-ranks"}, "a run is one process");
  flags.passed_over_with_value(
      {"optimizer-overrides"},
      "give the optimiser's flags themselves; the command line wins over the checkpoint", {"{}"});
  flags.refused_with_value({"s3-upload-path", "s3-dir"},
                           "nothing is uploaded; copy --save-dir when the run is done");
}

void describe_registries(LegacyFlags flags) {
  flags.passed_over_with_value({"criterion", "optimizer", "lr-scheduler"}, "it is for training");
  flags.passed_over_with_value({"scoring"}, "`evomoe score` says which measure it computes");
  flags.passed_over({"sacrebleu-lowercase"},
                    "it belongs to `evomoe generate --scoring "
                    "sacrebleu`");
  flags.passed_over_with_value({"sacrebleu-tokenizer"},
                               "it belongs to `evomoe generate --scoring sacrebleu`");
  flags.refused({"sacrebleu-char-level"}, "use --sacrebleu-tokenizer char");
  flags.refused({"wer-remove-punct", "wer-char-level", "wer-lowercase"},
                "word error rates are not computed; leave it out");
  flags.refused_with_value({"wer-tokenizer"}, "word error rates are not computed; leave it out");
  constexpr const char* kSpecials = "special symbols have the indices of fairseq's dictionaries";
  flags.passed_over_with_value({"pad"}, kSpecials, {"1"});
  flags.passed_over_with_value({"eos"}, kSpecials, {"2"});
  flags.passed_over_with_value({"unk"}, kSpecials, {"3"});
  flags.passed_over_with_value(
      {"tokenizer"},
      "text is split at white space; for moses and nltk tokenize the files before `evomoe "
      "preprocess`, and detokenize the D- lines",
      {"space"});
  constexpr const char* kOtherBpe =
      "the BPE here is gpt2's; apply another one to the text before, and join its pieces with "
      "--remove-bpe";
  flags.refused_with_value(
      {"bpe-codes", "bpe-separator", "bpe-vocab-file", "bpe-merges", "bpe-vocab",
       "sentencepiece-model", "sentencepiece-model-path", "sentencepiece-alpha"},
      kOtherBpe);
  flags.refused({"bpe-cased", "bpe-add-prefix-space", "sentencepiece-enable-sampling"}, kOtherBpe);
  flags.refused({"moses-no-dash-splits", "moses-no-escape"},
                "text is split at white space; tokenize the files before `evomoe preprocess`");
}

/// What every program has that computes with a model.
void describe_run(LegacyFlags flags) {
  describe_common(flags);
  describe_distributed(flags);
  describe_dataset(flags);
  describe_checkpoints(flags);
  describe_registries(flags);
}

/// Flags that decide in fairseq whether a training survives, each with what happens instead.
void describe_survival(LegacyFlags flags) {
  flags.passed_over(
      {"fp16", "memory-efficient-fp16"},
      "numbers are float32, which is more exact and needs more memory; an update "
      "whose gradient is not finite ends the run, where fp16 skips it: --on-non-finite "
      "skip does that too");
  flags.passed_over_with_value({"fp16-init-scale", "fp16-scale-window", "fp16-scale-tolerance",
                                "min-loss-scale", "threshold-loss-scale"},
                               "training is in float32, which needs no loss scale; --on-non-finite "
                               "says what an update does whose gradient is not finite");
  flags.passed_over({"suppress-crashes"}, "an error ends the run with exit status 1 in any case");
  flags.passed_over_with_value({"heartbeat-timeout"},
                               "a run that makes no progress is not ended; use `timeout`");
}

/// Is an option of training one that the reference's other programs have as well, or that its
/// scripts give them?
bool evaluation_of_reference_has(const Option& option) {
  static const std::set<std::string> whole_groups = {"task", "dataset", "checkpoint"};
  static const std::set<std::string> others = {"max-source-positions",
                                               "max-target-positions",
                                               "force-anneal",
                                               "lr-shrink",
                                               "warmup-updates",
                                               "regression-target",
                                               "moe-freq",
                                               "moe-expert-count",
                                               "moe-train-capacity-token-fraction",
                                               "moe-eval-capacity-token-fraction"};
  const bool ours = option.name() == "init-from";
  return others.count(option.name()) > 0 || (whole_groups.count(option.group()) > 0 && !ours);
}

}  // namespace

void describe_legacy_preprocess(OptionTable& table) {
  const LegacyFlags flags(table);
  describe_common(flags);
  describe_registries(flags);
  LegacyFlags(table).passed_over_with_value({"task", "all-gather-list-size", "model-parallel-size"},
                                            "it is for training");
}

void describe_legacy_train(OptionTable& table) {
  describe_survival(LegacyFlags(table));
  describe_run(LegacyFlags(table));
  describe_legacy_training(table);
}

void describe_legacy_evaluation(OptionTable& table, const OptionTable& train) {
  describe_run(LegacyFlags(table));
  LegacyFlags flags(table);
  const auto pass_over = [&](const std::string& name, bool takes_value, const std::string& note) {
    if (takes_value) flags.passed_over_with_value({name}, note);
    if (!takes_value) flags.passed_over({name}, note);
  };
  flags.passed_over_with_value({"max-tokens-valid", "batch-size-valid", "max-sentences-valid"},
                               "--max-tokens and --batch-size are the limits here");
  for (const auto& option : train.options()) {
    if (!evaluation_of_reference_has(*option)) continue;
    const auto& group = option->group();
    const bool of_model = group == "task" || group == "model" || group == "moe" ||
                          option->name() == "regression-target";
    const bool of_bleu = option->name().starts_with("eval-");
    const std::string note = of_bleu    ? "it is for train and validate"
                             : of_model ? "the checkpoint says it"
                                        : "it is for training";
    const bool takes_value = option->type() != OptionType::kFlag;
    pass_over(option->name(), takes_value, note);
    for (const auto& alias : option->aliases()) pass_over(alias, takes_value, note);
  }
  flags.passed_over({"moe-top1-expert", "moe-topk-expert"}, "the checkpoint says it");
  for (const auto& flag : train.legacy_flags())
    pass_over(flag.name, flag.takes_value,
              "it concerns the model and its training, which are "
              "finished");
}

}  // namespace evomoe
