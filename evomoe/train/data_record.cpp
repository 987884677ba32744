#include "evomoe/train/data_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>
#include <vector>

#include "evomoe/base/write_file.h"
#include "evomoe/checkpoint/xxhash64.h"
#include "evomoe/config/describe.h"
#include "evomoe/data/data_folders.h"
#include "evomoe/train/resume.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

/// What decides which tokens a validation predicts, and from which others.
constexpr std::array kSettings = {"task",
                                  "tokens-per-sample",
                                  "sample-break-mode",
                                  "add-bos-token",
                                  "source-lang",
                                  "target-lang",
                                  "truncate-source",
                                  "mask-prob",
                                  "leave-unmasked-prob",
                                  "random-token-prob",
                                  "mask-whole-words",
                                  "combine-valid-subsets",
                                  "skip-invalid-size-inputs-valid-test",
                                  "max-valid-steps"};

/// Of a split's token files in a data folder or its folders (input0, label), with their names.
/// `numbered`: those of split1, split2, ... too.
std::string checksum_of_files(const fs::path& folder, const std::string& split, bool numbered) {
  const auto belongs = [&](const fs::path& path) {
    const auto name = path.filename().string();
    if (!name.starts_with(split) || name.ends_with(".idx")) return false;
    auto end = split.size();
    if (numbered) end = std::min(name.find_first_not_of("0123456789", end), name.size());
    return end == name.size() || name[end] == '.';
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
  std::vector<char> block(1 << 20);
  for (const auto& path : files) {
    hash.update(fs::relative(path, folder).string());
    std::ifstream file(path, std::ios::binary);
    while (file.read(block.data(), static_cast<std::streamsize>(block.size())) || file.gcount() > 0)
      hash.update({block.data(), static_cast<size_t>(file.gcount())});
  }
  return fmt::format("{:016x}", hash.digest());
}

}  // namespace

void write_data_record(const TrainOptions& options, TaskData& data,
                       const std::map<std::string, std::shared_ptr<const Dataset>>& valid_sets,
                       const fs::path& path) {
  nlohmann::ordered_json record;
  record["data"] = options.data;
  record["model"] = model_section(data.source_dictionary(), data.target_dictionary());
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
  describe(table, copy);
  auto& settings = record["settings"] = nlohmann::ordered_json::object();
  for (const auto* name : kSettings) settings[name] = table.at(name).value();
  // So many batches are other tokens where batches have another size.
  if (options.dataset.max_valid_steps) {
    const auto& dataset = options.dataset;
    const auto batch_size =
        dataset.batch_size_valid ? dataset.batch_size_valid : dataset.batch_size;
    const auto max_tokens =
        dataset.max_tokens_valid ? dataset.max_tokens_valid : dataset.max_tokens;
    settings["batch-size-valid"] = batch_size ? nlohmann::ordered_json(*batch_size) : nullptr;
    settings["max-tokens-valid"] = max_tokens ? nlohmann::ordered_json(*max_tokens) : nullptr;
  }
  write_file(path, [&](std::ostream& stream) { stream << record.dump(2) << "\n"; });
}

}  // namespace evomoe
