#include "evomoe/compare/plan_file.h"

#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <map>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/base/temporary_folder.h"
#include "evomoe/base/write_file.h"
#include "evomoe/config/option_table.h"
#include "evomoe/train/options.h"
#include "evomoe/train/validate_options.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

/// What makes runs comparable; a method may not change it.
const std::vector<std::string>& common_options() {
  static const std::vector<std::string> names = {"task",
                                                 "tokens-per-sample",
                                                 "sample-break-mode",
                                                 "batch-size",
                                                 "max-tokens",
                                                 "update-freq",
                                                 "train-subset",
                                                 "valid-subset",
                                                 "batch-size-valid",
                                                 "max-valid-steps",
                                                 "mask-prob",
                                                 "curriculum"};
  return names;
}

/// What the plan itself says of each run.
const std::vector<std::string>& options_of_plan() {
  static const std::vector<std::string> names = {"data",         "save-dir",  "seed",
                                                 "max-update",   "max-epoch", "stop-time-hours",
                                                 "restore-file", "log-format"};
  return names;
}

template <typename T>
T value_of(const YAML::Node& node, const fs::path& file, const std::string& key) {
  try {
    return node[key].as<T>();
  } catch (const YAML::Exception&) {
    fail_usage("{}: the value of '{}' is missing, or of another type than is needed", file.string(),
               key);
  }
}

void check_keys(const YAML::Node& plan, const fs::path& file) {
  static const std::set<std::string> known = {"folder", "data",    "base",     "methods",
                                              "seeds",  "updates", "baseline", "valid-subset"};
  if (!plan.IsMap()) fail_usage("{}: a plan is a map of keys and values", file.string());
  for (const auto& entry : plan) {
    const auto key = entry.first.as<std::string>();
    if (!known.contains(key))
      fail_usage("{}: '{}' means nothing; the keys are {}", file.string(), key,
                 fmt::join(known, ", "));
  }
  for (const auto* key : {"folder", "data", "methods", "updates"}) {
    if (!plan[key].IsDefined()) fail_usage("{}: the key '{}' is missing", file.string(), key);
  }
}

std::string text_of(const YAML::Node& node) {
  YAML::Emitter out;
  out << node;
  return std::string(out.c_str()) + "\n";
}

/// Options as a YAML file has them: those of a map, or the content of a file.
std::string options_text(const YAML::Node& node, const fs::path& file, const std::string& what) {
  if (!node.IsDefined() || node.IsNull()) return "{}\n";
  if (node.IsMap()) return text_of(node);
  if (!node.IsScalar())
    fail_usage("{}: {} must be options (a map), or the name of a file of options", file.string(),
               what);
  // Beside the plan, or from where the command runs.
  const fs::path given = node.as<std::string>();
  const auto path = fs::exists(file.parent_path() / given) ? file.parent_path() / given : given;
  try {
    return text_of(YAML::LoadFile(path.string()));
  } catch (const YAML::Exception& error) {
    fail_usage("{}: {}: cannot read {}: {}", file.string(), what, path.string(), error.what());
  }
}

std::vector<int64_t> numbers(const YAML::Node& plan, const fs::path& file, const std::string& key) {
  auto values = plan[key].IsScalar() ? std::vector<int64_t>{value_of<int64_t>(plan, file, key)}
                                     : value_of<std::vector<int64_t>>(plan, file, key);
  auto sorted = values;
  std::ranges::sort(sorted);
  if (values.empty() || std::ranges::adjacent_find(sorted) != sorted.end())
    fail_usage("{}: '{}' needs at least one number, each of them once", file.string(), key);
  return values;
}

/// A method's options over the base, as training reads them; each by its name, as text.
std::map<std::string, std::string> read_options(const ComparePlan& plan, const std::string& method,
                                                const std::string& options) {
  const TemporaryFolder folder("", "name one that can be written in TMPDIR");
  const auto write = [&](const std::string& name, const std::string& text) {
    const auto path = folder.path() / name;
    write_file(path, [&](std::ostream& out) { out << text; });
    return path.string();
  };
  TrainOptions train;
  OptionTable table("train", "");
  train.describe(table);
  try {
    table.parse({plan.data, "--config", write("base.yaml", plan.base), "--config",
                 write(method + ".yaml", options)});
    for (const auto& name : options_of_plan()) {
      if (name != "data" && table.is_set(name))
        fail_usage("--{} is what the plan says of each run; leave it out of base and methods",
                   name);
    }
    validate_options(train);
  } catch (const UsageError& error) {
    fail_usage("{}: method '{}': {}", plan.file.string(), method, error.what());
  }
  std::map<std::string, std::string> values;
  for (const auto& name : common_options()) values[name] = table.at(name).value().dump();
  return values;
}

void check_methods(const ComparePlan& plan) {
  std::map<std::string, std::string> first;
  for (const auto& [method, options] : plan.methods) {
    if (method.empty() ||
        method.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "0123456789_") != std::string::npos)
      fail_usage("{}: the method '{}' needs a name of letters, digits and underscores",
                 plan.file.string(), method);
    const auto values = read_options(plan, method, options);
    if (first.empty()) first = values;
    for (const auto& [name, value] : values) {
      if (value == first.at(name)) continue;
      fail_usage(
          "{}: --{} is {} for the method '{}' and {} for '{}': methods are compared with the same "
          "data and batches; put it into 'base'",
          plan.file.string(), name, value, method, first.at(name), plan.methods.front().first);
    }
  }
}

}  // namespace

std::string PlannedRun::row() const { return fmt::format("{}.{}", method, updates); }
std::string PlannedRun::name() const { return fmt::format("{}-{}", row(), seed); }

ComparePlan read_compare_plan(const fs::path& file) {
  YAML::Node node;
  try {
    node = YAML::LoadFile(file.string());
  } catch (const YAML::Exception& error) {
    fail_usage("{}: cannot be read as a plan: {}", file.string(), error.what());
  }
  check_keys(node, file);
  ComparePlan plan;
  plan.file = file;
  plan.folder = value_of<std::string>(node, file, "folder");
  plan.data = value_of<std::string>(node, file, "data");
  if (node["valid-subset"].IsDefined())
    plan.subset = value_of<std::string>(node, file, "valid-subset");
  plan.base = options_text(node["base"], file, "'base'");
  const auto methods = node["methods"];
  if (!methods.IsMap() || methods.size() == 0)
    fail_usage("{}: 'methods' is a map from each method's name to its options", file.string());
  for (const auto& entry : methods) {
    const auto name = entry.first.as<std::string>();
    plan.methods.emplace_back(name, options_text(entry.second, file, "method '" + name + "'"));
  }
  plan.seeds = node["seeds"].IsDefined() ? numbers(node, file, "seeds") : std::vector<int64_t>{1};
  plan.updates = numbers(node, file, "updates");
  std::ranges::sort(plan.updates);
  if (plan.updates.front() < 1 || *std::ranges::min_element(plan.seeds) < 0)
    fail_usage("{}: 'updates' must be above 0, and 'seeds' not below", file.string());
  plan.baseline = node["baseline"].IsDefined() ? value_of<std::string>(node, file, "baseline")
                                               : plan.methods.front().first;
  if (std::ranges::none_of(plan.methods,
                           [&](const auto& method) { return method.first == plan.baseline; }))
    fail_usage("{}: baseline '{}' is none of the methods", file.string(), plan.baseline);
  check_methods(plan);
  return plan;
}

std::vector<PlannedRun> runs_of(const ComparePlan& plan) {
  std::vector<PlannedRun> runs;
  for (const auto updates : plan.updates) {
    for (const auto seed : plan.seeds) {
      for (const auto& [method, options] : plan.methods) runs.push_back({method, updates, seed});
    }
  }
  return runs;
}

}  // namespace evomoe
