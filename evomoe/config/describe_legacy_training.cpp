// As describe_legacy.cpp, of training alone: models, tasks, optimisers and schedules.
#include "evomoe/config/describe_groups.h"
#include "evomoe/config/legacy_flags.h"

namespace evomoe {
namespace {

void describe_models(LegacyFlags flags) {
  flags.passed_over({"record-a2a-perf-stats", "dummy-a2a"},
                    "a run is one process: there is nothing to communicate");
  flags.passed_over_with_value({"moe-normalize-expert-grad"},
                               "it scales gradients by the number of processes, and a run is one "
                               "process");
  flags.passed_over_with_value({"min-params-to-wrap"},
                               "a run is one process: there is nothing to communicate");
  flags.passed_over_with_value({"moe-expert-ffn-dim"},
                               "the reference never used it: experts have --decoder-ffn-embed-dim");
  flags.passed_over_with_value({"base-layers"}, "there are no BASE layers; only 0 is possible",
                               {"0"});
  flags.passed_over_with_value({"base-sublayers", "base-shuffle"}, "there are no BASE layers");
  flags.passed_over_with_value({"decoder-layerdrop", "encoder-layerdrop"},
                               "layer dropping is not supported; only 0 is possible", {"0", "0.0"});
  flags.passed_over_with_value({"quant-noise-pq", "quant-noise-scalar"},
                               "quantisation noise is not supported; only 0 is possible",
                               {"0", "0.0"});
  flags.passed_over_with_value({"quant-noise-pq-block-size"},
                               "quantisation noise is not supported");
  flags.refused({"offload-activations"},
                "not supported; use --checkpoint-activations and --recompute-experts to save "
                "memory");
  flags.refused({"use-stable-embedding", "stable-emb"},
                "the bitsandbytes embedding is not supported; leave the flag out");
  flags.refused({"cross-self-attention", "no-cross-attention", "character-embeddings"},
                "this variant of the model is not supported; leave the flag out");
  flags.passed_over_with_value(
      {"character-filters", "character-embedding-dim", "char-embedder-highway-layers"},
      "it belongs to a feature that is not supported; the feature's own flag is refused");
  flags.refused_with_value({"encoder-embed-path", "decoder-embed-path"},
                           "embeddings are not read from text files; use --init-from with a "
                           "safetensors file");
  flags.refused_with_value({"encoder-layers-to-keep", "decoder-layers-to-keep"},
                           "layers are not pruned; leave the flag out");
  flags.refused_with_value({"decoder-output-dim", "decoder-input-dim"},
                           "it is always --decoder-embed-dim, the width of the decoder; leave it "
                           "out");
  flags.refused({"load-checkpoint-heads", "spectral-norm-classification-head"},
                "not supported; leave the flag out");
}

void describe_tasks(LegacyFlags flags) {
  flags.passed_over_with_value({"num-batch-buckets"}, "shapes need no buckets; only 0 is possible",
                               {"0"});
  flags.refused({"load-alignments"}, "word alignments are not read; leave it out");
  flags.refused({"add-prev-output-tokens"},
                "sentences are classified by encoders alone; leave the flag out");
  flags.refused({"future-target", "past-target", "self-target"},
                "a language model here predicts the next token only; leave the flag out");
  flags.passed_over_with_value({"output-dictionary-size"},
                               "the dictionary is used whole; shorten dict.txt", {"-1"});
  flags.passed_over_with_value({"shorten-data-split-list"},
                               "--shorten-method shortens every split; leave it out", {""});
  flags.passed_over_with_value(
      {"bpe"}, "--mask-whole-words finds the BPE's files in the data-bin folder", {"gpt2"});
  flags.passed_over_with_value({"gpt2-encoder-json", "gpt2-vocab-bpe"},
                               "--mask-whole-words finds the BPE's files in the data-bin folder");
}

void describe_optimization(LegacyFlags flags) {
  flags.passed_over({"fp16-adam-stats", "use-old-adam"}, "the optimiser works in float32");
  constexpr const char* kOtherOptimizer =
      "it is of an optimiser that is not here; --optimizer is adam, adafactor or muon "
      "(docs/optimizers.md)";
  flags.refused_with_value({"momentum", "adadelta-rho", "adadelta-eps", "adamax-betas",
                            "adamax-eps", "lamb-betas", "lamb-eps"},
                           kOtherOptimizer);
  flags.refused({"anneal-eps", "no-bias-correction"}, kOtherOptimizer);
  constexpr const char* kOtherSchedule =
      "it is of another schedule; --lr-scheduler is fixed, polynomial_decay, inverse_sqrt or "
      "cosine";
  flags.refused_with_value({"lr-threshold", "lr-patience", "lr-deacy-period", "lr-decay",
                            "warmup-steps", "hold-steps", "decay-steps", "phase-ratio",
                            "init-lr-scale", "final-lr-scale", "max-lr", "epoch2lr", "update2lr"},
                           kOtherSchedule);
  flags.refused({"shrink-min"}, kOtherSchedule);
  flags.refused({"use-bmuf"},
                "block-wise model updates need several processes; leave the flag out");
  constexpr const char* kBmuf = "it belongs to --use-bmuf, which is refused";
  flags.passed_over({"use-nbm", "average-sync"}, kBmuf);
  flags.passed_over_with_value(
      {"block-lr", "block-momentum", "global-sync-iter", "warmup-iterations"}, kBmuf);
}

}  // namespace

void describe_legacy_training(OptionTable& table) {
  const LegacyFlags flags(table);
  describe_models(flags);
  describe_tasks(flags);
  describe_optimization(flags);
}

}  // namespace evomoe
