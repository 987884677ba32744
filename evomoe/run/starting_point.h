#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "evomoe/checkpoint/run_state.h"
#include "evomoe/run/memory_planner.h"
#include "evomoe/run/run_data.h"
#include "evomoe/train/options.h"
#include "evomoe/train/trainer.h"

namespace evomoe {

/// Where a run begins: anew, with weights of another run, or where an earlier run stopped.
struct StartingPoint {
  std::unique_ptr<Trainer> trainer;
  /// The checkpoint that the run goes on from; empty where it begins anew.
  std::filesystem::path path;
  /// It is one of the run's own folder, whose log goes on.
  bool in_own_folder = false;
  int64_t epoch = 1;   ///< from 1
  int64_t offset = 0;  ///< micro-batches of the epoch that are done
  /// What goes on of the checkpoint's state: times, meters, patience, the best metric. Nothing
  /// where the run begins anew or says --reset-meters.
  std::optional<RunState> meters;
};

/// Finds it, and makes the trainer with the options that `memory` decided and `ranks`. Error
/// when there is no checkpoint where --restore-file says so, when it is of another model, data or
/// schedule than the options (each with its remedy), or when a checkpoint of another run would be
/// overwritten.
StartingPoint find_starting_point(const TrainOptions& options, const MemoryPlanner& memory,
                                  const RunData& data, torch::Device device, RankGroups ranks);

}  // namespace evomoe
