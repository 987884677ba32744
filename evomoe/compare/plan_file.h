#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace evomoe {

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
  std::vector<int64_t> seeds;
  std::vector<int64_t> updates;  ///< ascending: the lengths
};

/// A run of a plan.
struct PlannedRun {
  std::string method;
  int64_t updates = 0, seed = 0;

  /// "switch.2000-1": runs that differ in the seed alone are those of one row.
  std::string name() const;
  /// "switch.2000".
  std::string row() const;
};

/// Reads a plan:
///
///   folder: runs/books       # of the runs; from where the command runs
///   data: data-bin
///   base: recipes/books_small.yaml   # a file, or options: {lr: 0.004, ...}
///   methods:                 # laid over the base
///     dense: {}
///     switch: {moe-freq: 1, moe-expert-count: 8, moe-router: switch}
///   seeds: [1, 2, 3]         # not given: [1]
///   updates: [500, 1000]     # lengths, each with its own learning-rate schedule
///   baseline: switch         # not given: the first method
///   valid-subset: valid
///
/// UsageError, with the key: one that is missing or means nothing, a value of another type, names
/// that cannot be those of folders, options that `evomoe train` refuses, and methods that differ in
/// what must be the same: data, batches, length, seed.
ComparePlan read_compare_plan(const std::filesystem::path& file);

/// All runs, the short ones first, and for each length all methods with the first seed before those
/// with the next one.
std::vector<PlannedRun> runs_of(const ComparePlan& plan);

}  // namespace evomoe
