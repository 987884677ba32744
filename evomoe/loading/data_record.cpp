#include "evomoe/loading/data_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "evomoe/base/json_file.h"
#include "evomoe/base/mapped_file.h"
#include "evomoe/checkpoint/xxhash64.h"
#include "evomoe/config/option_table.h"
#include "evomoe/data/data_folders.h"
#include "evomoe/loading/stored_state.h"
#include "evomoe/train/batches.h"
#include "evomoe/train/model_family.h"
#include "evomoe/train/model_options.h"
#include "evomoe/train/task.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

/// What decides in every task which tokens a validation predicts. A task adds its own
/// (Task::scoring_options).
constexpr std::array kSettings = {"task", "tokens-per-sample", "combine-valid-subsets",
                                  "skip-invalid-size-inputs-valid-test", "max-valid-steps"};

/// Of a split's token and label files in a data folder or its folders (input0, label), with their
/// names. `numbered`: those of split1, split2, ... too.
std::string checksum_of_files(const fs::path& folder, const std::string& split, bool numbered) {
  const auto belongs = [&](const fs::path& path) {
    const auto name = path.filename().string();
    const bool counts = name.ends_with(".bin") || name.ends_with(".label");
    if (!counts || !name.starts_with(split)) return false;
    auto end = split.size();
    if (numbered) end = std::min(name.find_first_not_of("0123456789", end), name.size());
    return name[end] == '.';
  };
  std::vector<fs::path> files;
  constexpr auto how = fs::directory_options::skip_permission_denied;
  for (auto entry = fs::recursive_directory_iterator(folder, how); entry != fs::end(entry);
       ++entry) {
    if (entry.depth() > 0 && entry->is_directory()) entry.disable_recursion_pending();
    if (entry->is_regular_file() && belongs(entry->path())) files.push_back(entry->path());
  }
  std::sort(files.begin(), files.end());
  XxHash64 hash;
  for (const auto& path : files) {
    hash.update(fs::relative(path, folder).string());
    hash.update(MappedFile(path).bytes());
  }
  return fmt::format("{:016x}", hash.digest());
}

/// The limits that decide which tokens are scored, where they do.
void add_limits(const TrainOptions& options, nlohmann::ordered_json& settings) {
  const auto add = [&](const char* name, int64_t limit) {
    settings[name] = limit > 0 ? nlohmann::ordered_json(limit) : nullptr;
  };
  const auto iterator = iterator_options(options, /*training=*/false);
  const bool leaves_out = options.dataset.skip_invalid_size_inputs_valid_test;
  const bool some_batches = options.dataset.max_valid_steps.has_value();
  // So many batches are other tokens where batches have another size.
  if (some_batches) add("batch-size-valid", iterator.limits.max_sentences);
  if (some_batches || leaves_out) add("max-tokens-valid", iterator.limits.max_tokens);
  if (!leaves_out) return;
  add(family_of(options).positions_option().c_str(), iterator.max_positions);
  if (reads_pairs(options)) add("max-source-positions", longest_source(options));
}

}  // namespace

void write_data_record(const TrainOptions& options, TaskData& data,
                       const std::map<std::string, std::shared_ptr<const Dataset>>& valid_sets,
                       const fs::path& path) {
  nlohmann::ordered_json record;
  record["data"] = options.data;
  record["model"] =
      nlohmann::json(model_record(data.source_dictionary(), data.target_dictionary()));
  const auto train = data.train(1, options.dataset.train_subset);
  record["train"] = {{"items", train->size()}, {"tokens", train->tokens()}};
  record["valid"] = nlohmann::ordered_json::object();
  for (const auto& [subset, dataset] : valid_sets) {
    record["valid"][subset] = {
        {"items", dataset->size()},
        {"tokens", dataset->tokens()},
        {"xxh64", checksum_of_files(split_data_paths(options.data).front(), subset,
                                    options.dataset.combine_valid_subsets)}};
  }
  TrainOptions copy = options;
  OptionTable table("train", "");
  copy.describe(table);
  auto& settings = record["settings"] = nlohmann::ordered_json::object();
  for (const auto* name : kSettings) settings[name] = table.at(name).value();
  for (const auto& name : find_task(options.task.task).scoring_options())
    settings[name] = table.at(name).value();
  add_limits(options, settings);
  write_json_file(path, record);
}

}  // namespace evomoe
