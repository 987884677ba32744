// Flags of the reference's trainer that old command lines carry and that have no counterpart here.
#include "evomoe/config/describe_groups.h"

namespace evomoe {

void describe_legacy_flags(OptionTable& table) {
  const auto no_effect = [&](std::vector<std::string> flags, const std::string& note,
                             bool takes_value, std::vector<std::string> harmless = {}) {
    for (auto& flag : flags)
      table.legacy({std::move(flag), takes_value, harmless, note, /*refused=*/false});
  };
  const auto refused = [&](std::vector<std::string> flags, const std::string& note,
                           bool takes_value) {
    for (auto& flag : flags)
      table.legacy({std::move(flag), takes_value, {}, note, /*refused=*/true});
  };

  no_effect(
      {"distributed-world-size", "distributed-num-procs", "model-parallel-size"},
      "a run is one process, so only 1 is possible: leave the flag out, and start one process "
      "(parallel training is not there yet)", true, {"1"});
  no_effect({"distributed-rank", "device-id", "local-rank"},
            "a run is one process; only 0 is possible", true, {"0"});
  no_effect({"ddp-backend", "distributed-backend", "distributed-init-method", "distributed-port",
             "bucket-cap-mb", "all-gather-list-size"},
            "a run is one process, which has nobody to talk to", true);
  no_effect({"distributed-no-spawn", "find-unused-parameters", "fast-stat-sync",
             "broadcast-buffers", "no-reshard-after-forward", "use-sharded-state",
             "fp32-reduce-scatter", "cpu-offload", "record-a2a-perf-stats", "dummy-a2a"},
            "a run is one process, which has nobody to talk to", false);
  no_effect({"moe-normalize-expert-grad"},
            "it scales gradients by the number of processes, and a run is one process", true);
  no_effect({"fp16-no-flatten-grads", "fp16-adam-stats", "use-old-adam"},
            "the optimiser works in float32", false);
  no_effect({"fp16-init-scale", "fp16-scale-window", "fp16-scale-tolerance", "min-loss-scale",
             "threshold-loss-scale"},
            "training is in float32, which needs no loss scale", true);
  no_effect({"moe-expert-ffn-dim"},
            "the reference never used it: experts have --decoder-ffn-embed-dim", true);
  no_effect({"no-progress-bar"}, "the live line appears on a terminal only", false);
  no_effect({"reset-lr-scheduler"},
            "the learning rate is a function of update and epoch, of which nothing is stored",
            false);
  no_effect({"fixed-validation-seed"},
            "validation's noise, if any, follows from --seed and the update", true);
  no_effect({"save-trace"}, "it had no effect in the reference", false);
  no_effect({"empty-cache-freq"}, "the allocator needs no emptying", true);
  no_effect({"data-buffer-size"}, "--num-workers decides how far ahead batches are prepared", true);
  no_effect({"dataset-impl"}, "the format is recognised from the file", true);
  no_effect({"base-layers"}, "there are no BASE layers; only 0 is possible", true, {"0"});
  no_effect({"decoder-layerdrop"}, "layer dropping is not supported; only 0 is possible", true,
            {"0", "0.0"});

  no_effect({"fp16", "memory-efficient-fp16", "bf16", "memory-efficient-bf16"},
            "training is in float32, which is more exact and needs more memory", false);
  refused({"offload-activations"},
          "not supported; use --checkpoint-activations and --recompute-experts to save memory",
          false);
  refused({"use-stable-embedding", "stable-emb"},
          "the bitsandbytes embedding is not supported; leave the flag out", false);
  no_effect({"base-sublayers", "base-shuffle"}, "there are no BASE layers", true);
  no_effect({"encoder-layerdrop"}, "layer dropping is not supported; only 0 is possible", true,
            {"0", "0.0"});
  no_effect({"quant-noise-pq", "quant-noise-scalar"},
            "quantisation noise is not supported; only 0 is possible", true, {"0", "0.0"});
  no_effect({"quant-noise-pq-block-size"}, "quantisation noise is not supported", true);
  no_effect({"tpu"}, "there is no TPU here", false);
  no_effect({"slowmo-momentum", "slowmo-algorithm", "localsgd-frequency", "heartbeat-timeout",
             "nprocs-per-node", "distributed-wrapper"},
            "a run is one process, which has nobody to talk to", true);
  no_effect({"tensorboard-logdir", "wandb-project", "azureml-logging"},
            "the run folder's log.jsonl holds what it would be told", true);
  no_effect({"log-file"}, "the run folder's log.jsonl is always written", true);
  no_effect({"suppress-crashes", "no-seed-provided"},
            "it is about the reference's process", false);
  no_effect({"num-shards", "checkpoint-shard-count"}, "a run is one process; only 1 is possible", true,
            {"1"});
  no_effect({"shard-id"}, "a run is one process; only 0 is possible", true, {"0"});
  no_effect({"num-batch-buckets"}, "shapes need no buckets; only 0 is possible", true, {"0"});
  no_effect({"checkpoint-suffix"}, "the layout is recognised from the files", true);
  no_effect({"load-checkpoint-on-all-dp-ranks"}, "a run is one process", false);
  no_effect({"scoring"}, "`evomoe score` says which measure it computes", true);
  refused({"pipeline-model-parallel"},
          "a run is one process; leave the flag out", false);
  refused({"pipeline-balance", "pipeline-devices", "pipeline-chunks", "pipeline-encoder-balance",
           "pipeline-encoder-devices", "pipeline-decoder-balance", "pipeline-decoder-devices",
           "pipeline-checkpoint"},
          "there is no pipeline parallelism; leave the flag out", true);
  refused({"use-bmuf"}, "block-wise model updates need several processes; leave the flag out",
          false);
  refused({"cross-self-attention", "no-cross-attention", "character-embeddings"},
          "this variant of the model is not supported; leave the flag out", false);
  refused({"encoder-embed-path", "decoder-embed-path"},
          "embeddings are not read from text files; use --init-from with a safetensors file", true);
  refused({"encoder-layers-to-keep", "decoder-layers-to-keep"},
          "layers are not pruned; leave the flag out", true);
  refused({"load-alignments"}, "word alignments are not read; leave it out", false);
  refused({"regression-target"}, "regression is not supported; --num-classes classes are", false);
  refused({"future-target", "past-target", "self-target"},
          "a language model here predicts the next token only; leave the flag out", false);
  refused({"momentum"}, "--optimizer adam is the only one; it has --adam-betas", true);
  no_effect({"reset-logging", "fix-batches-to-gpus"},
            "a run is one process with a log of its own", false);
  no_effect({"ddp-comm-hook", "zero-sharding", "min-params-to-wrap"},
            "a run is one process, which has nobody to talk to", true);
  no_effect({"required-seq-len-multiple"}, "lengths are not rounded; only 1 is possible", true,
            {"1"});
  no_effect({"character-filters", "character-embedding-dim", "char-embedder-highway-layers"},
            "it refines a feature that is not supported and is refused by its own flag", true);
  refused({"shorten-data-split-list"}, "--shorten-method shortens every split; leave it out", true);
  refused({"quantization-config-path"}, "quantised training is not supported; leave it out", true);
  refused({"optimizer-overrides"},
          "give the optimiser's flags themselves; the command line wins over the checkpoint", true);
  refused({"output-dictionary-size"}, "the dictionary is used whole; shorten dict.txt", true);
  refused({"decoder-output-dim"}, "it is always the width of the decoder; leave it out", true);
  refused({"load-checkpoint-heads", "spectral-norm-classification-head", "add-prev-output-tokens"},
          "not supported; leave the flag out", false);
  no_effect({"gen-subset"}, "training evaluates --valid-subset", true);
  refused({"user-dir"},
          "there are no Python plug-ins; docs/routing.md shows how a routing method is added",
          true);
}

}  // namespace evomoe
