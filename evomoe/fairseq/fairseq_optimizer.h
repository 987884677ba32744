#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/fairseq/pickle_value.h"

namespace evomoe {

/// What ends each refusal of an optimizer's state.
inline constexpr const char* kFairseqOptimizerRemedy =
    "evomoe train takes the weights alone with --finetune-from-model, or with --restore-file and "
    "--reset-optimizer, and evomoe convert with --no-save-optimizer-state";

/// The state of one tensor of the optimizer, of its true size (--fp16-adam-stats stores it scaled)
/// and in float32, by fairseq's names: Adam's "exp_avg" and "exp_avg_sq"; Adafactor's
/// "exp_avg_sq_row" and "exp_avg_sq_col" (of matrices) or "exp_avg_sq", and with --beta1 "exp_avg".
struct FairseqMoments {
  int64_t step = 0;
  std::map<std::string, torch::Tensor> tensors;
};

/// The optimizer's state in a file of fairseq. Its tensors are the parameters of the process's
/// model, or flat ones of several parameters: one of all (--fp16), or one of each FSDP instance.
struct FairseqOptimizer {
  std::string method = "adam";  ///< or "adafactor"
  int64_t tensors = 0;
  std::map<int64_t, FairseqMoments> moments;  ///< by position; of the tensors that were updated
};

/// Reads `last_optimizer_state`; nothing where the file has none. Each entry is read or known to
/// change nothing: any other, which may give the moments another meaning, is an Error that names
/// it. So is the state of another optimizer than Adam and Adafactor.
std::optional<FairseqOptimizer> read_fairseq_optimizer(const PickleValue& root,
                                                       const std::string& file);

/// The sizes of the state `name` of a parameter of fairseq: those of the parameter, without the
/// last axis (Adafactor's rows) or without the last but one (its columns).
std::vector<int64_t> fairseq_state_sizes(const std::string& name, at::IntArrayRef parameter);

/// Error where a flat tensor of several parameters has a state other than Adam's: it is not the
/// state of the parameters.
void check_may_be_flat(const FairseqOptimizer& optimizer, const std::string& file);

}  // namespace evomoe
