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
      {"distributed-world-size", "distributed-num-procs", "nprocs-per-node", "model-parallel-size"},
      "a run is one process; only 1 is possible", true, {"1"});
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
  no_effect({"fixed-validation-seed"}, "validation's noise, if any, follows from --seed and the update", true);
  no_effect({"save-trace"}, "it had no effect in the reference", false);
  no_effect({"empty-cache-freq"}, "the allocator needs no emptying", true);
  no_effect({"data-buffer-size"}, "--num-workers decides how far ahead batches are prepared", true);
  no_effect({"dataset-impl"}, "the format is recognised from the file", true);
  no_effect({"base-layers"}, "there are no BASE layers; only 0 is possible", true, {"0"});
  no_effect({"decoder-layerdrop"}, "layer dropping is not supported; only 0 is possible", true,
            {"0", "0.0"});

  refused({"fp16", "memory-efficient-fp16", "bf16", "memory-efficient-bf16"},
          "this version trains in float32 only; leave the flag out", false);
  refused({"offload-activations"},
          "not supported; use --checkpoint-activations and --recompute-experts to save memory",
          false);
  refused({"use-stable-embedding", "stable-emb"},
          "the bitsandbytes embedding is not supported; leave the flag out", false);
  refused({"user-dir"},
          "there are no Python plug-ins; docs/routing.md shows how a routing method is added",
          true);
}

}  // namespace evomoe
