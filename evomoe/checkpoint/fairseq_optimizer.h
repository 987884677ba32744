#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "evomoe/checkpoint/pickle_value.h"

namespace evomoe {

/// What ends each refusal of an optimizer's state.
inline constexpr const char* kFairseqOptimizerRemedy =
    "evomoe train takes the weights alone with --finetune-from-model, or with --restore-file and "
    "--reset-optimizer, and evomoe convert with --no-save-optimizer-state";

/// Adam's state of one tensor of the optimizer, of its true size (--fp16-adam-stats stores it
/// scaled) and in float32.
struct FairseqMoments {
  int64_t step = 0;
  torch::Tensor exp_avg, exp_avg_sq;
};

/// The optimizer's state in a file of fairseq. Its tensors are the parameters of the process's
/// model, or flat ones of several parameters: one of all (--fp16), or one of each FSDP instance.
struct FairseqOptimizer {
  int64_t tensors = 0;
  std::map<int64_t, FairseqMoments> moments;  ///< by position; of the tensors that were updated
};

/// Reads `last_optimizer_state`; nothing where the file has none. Each entry is read or known to
/// change nothing: any other, which may give the moments another meaning, is an Error that names
/// it. So is the state of another optimizer than Adam.
std::optional<FairseqOptimizer> read_fairseq_optimizer(const PickleValue& root,
                                                       const std::string& file);

}  // namespace evomoe
