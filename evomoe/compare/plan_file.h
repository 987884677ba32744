#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace evomoe {

/// What the lengths of a plan's runs are measured in: each run takes as much of it.
enum class PlanUnit { kUpdates, kTokens, kFlops, kSeconds };

/// "updates", "tokens", "flops" or "seconds", the key of a plan.
const std::string& unit_name(PlanUnit unit);

/// Options of a method that a search tries.
struct PlanSetting {
  std::string words;    ///< "lr 0.001, moe-gate-loss-wt 0.1"
  std::string options;  ///< as the text of a YAML file
};

/// The seed of a search's runs.
inline constexpr int64_t kSearchSeed = 0;

/// Runs that are to be compared: each method with each seed and each length.
struct ComparePlan {
  std::filesystem::path file;
  std::filesystem::path folder;  ///< of the runs
  std::string data;
  std::string subset = "valid";
  std::string baseline;  ///< a method
  /// Options of all runs and of each method, as the text of a YAML file of `evomoe train`.
  std::string base;
  std::vector<std::pair<std::string, std::string>> methods;
  std::vector<int64_t> seeds = {1};
  PlanUnit unit = PlanUnit::kUpdates;
  std::vector<double> lengths;  ///< ascending whole numbers, of the unit

  /// The settings of methods that are searched first (--search), by method.
  std::map<std::string, std::vector<PlanSetting>> search;

  /// "2000 updates", "1e15 flops".
  std::string length_text(double length) const;
  /// The lengths of the rounds of a search of `settings` settings: each twice the one before, the
  /// last one the shortest of the plan. None of one setting.
  std::vector<double> trial_lengths(size_t settings) const;
};

/// A run of a plan.
struct PlannedRun {
  std::string method;
  PlanUnit unit = PlanUnit::kUpdates;
  double length = 0;
  int64_t seed = 0;
  std::optional<size_t> setting;  ///< of ComparePlan::search, added to the method's options
  bool is_trial = false;          ///< it tries the setting; else the setting was chosen

  /// "switch.2000-1", "switch.1e15flops-1", of a trial "switch.s3.500-0": of its folder.
  std::string name() const;
};

/// Reads a plan:
///
///   folder: runs/books       # of the runs; from where the command runs
///   data: data-bin
///   base: recipes/books_small.yaml   # a file, options: {lr: 0.004, ...}, or a list of these
///   methods:                 # laid over the base
///     dense: {}
///     switch: {moe-freq: 1, moe-expert-count: 8, moe-router: switch}
///   seeds: [1, 2, 3]         # not given: [1]
///   updates: [500, 1000]     # lengths, each with its own learning-rate schedule; or tokens,
///                            # flops, seconds
///   baseline: switch         # not given: the first method
///   valid-subset: valid
///   search:                  # settings to choose from first, every combination of the lists
///     switch: {lr: [0.002, 0.004], moe-gate-loss-wt: [0.01, 0.1]}
///
/// UsageError, with the key: one that is missing or means nothing, a value of another type, names
/// that cannot be those of folders, options that `evomoe train` refuses, and methods that differ in
/// what must be the same: data, batches, length, seed. So are a warm-up that is longer than a run,
/// and options by which a run would end before its length.
ComparePlan read_compare_plan(const std::filesystem::path& file);

/// All runs, the short ones first, and for each length all methods with the first seed before those
/// with the next one. `chosen`: the settings of methods that were searched; one that has a search
/// and no setting has no runs.
std::vector<PlannedRun> runs_of(const ComparePlan& plan,
                                const std::map<std::string, size_t>& chosen = {});

}  // namespace evomoe
