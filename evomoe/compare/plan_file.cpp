#include "evomoe/compare/plan_file.h"

#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"
#include "evomoe/base/temporary_folder.h"
#include "evomoe/base/write_file.h"
#include "evomoe/config/option_table.h"
#include "evomoe/train/options.h"
#include "evomoe/train/validate_options.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

/// What makes runs comparable beside the groups "task" and "dataset"; a method may not change it.
const std::vector<std::string> kCommonOptions = {"update-freq", "max-positions",
                                                 "max-source-positions", "max-target-positions",
                                                 "distributed-world-size"};
/// Of those groups: how fast batches are made changes none of them.
constexpr const char* kFreeOption = "num-workers";

/// What the plan itself says of each run, and what would end one before its length, or its schedule
/// before or after its end.
const std::vector<std::string> kOptionsOfPlan = {"save-dir",
                                                 "seed",
                                                 "max-update",
                                                 "max-epoch",
                                                 "stop-time-hours",
                                                 "budget",
                                                 "patience",
                                                 "stop-min-lr",
                                                 "total-num-update",
                                                 "lr-period-updates",
                                                 "restore-file",
                                                 "log-format",
                                                 "tensorboard-logdir",
                                                 "reset-dataloader",
                                                 "disable-validation",
                                                 "no-save",
                                                 "no-last-checkpoints",
                                                 "live",
                                                 "live-address"};

/// No method has the name of the file with the options of all.
constexpr const char* kBaseName = "base";

const std::vector<std::string> kUnits = {"updates", "tokens", "flops", "seconds"};

/// "2000" of updates, "2e9" of other units.
std::string number_text(double length, PlanUnit unit) {
  if (unit == PlanUnit::kUpdates) return fmt::format("{:.0f}", length);
  auto text = fmt::format("{:g}", length);
  if (std::stod(text) != length) return fmt::format("{:.0f}", length);
  if (const auto exponent = text.find("e+"); exponent != std::string::npos)
    text.erase(exponent + 1, text.find_first_not_of("+0", exponent + 1) - exponent - 1);
  return text;
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
  static const std::set<std::string> known = [] {
    std::set<std::string> keys = {"folder", "data",     "base",         "methods",
                                  "seeds",  "baseline", "valid-subset", "search"};
    keys.insert(kUnits.begin(), kUnits.end());
    return keys;
  }();
  if (!plan.IsMap()) fail_usage("{}: a plan is a map of keys and values", file.string());
  for (const auto& entry : plan) {
    const auto key = entry.first.as<std::string>();
    if (!known.contains(key))
      fail_usage("{}: '{}' means nothing; the keys are {}", file.string(), key,
                 fmt::join(known, ", "));
  }
  for (const auto* key : {"folder", "data", "methods"}) {
    if (!plan[key].IsDefined()) fail_usage("{}: the key '{}' is missing", file.string(), key);
  }
  const auto units = std::ranges::count_if(
      kUnits, [&](const std::string& unit) { return plan[unit].IsDefined(); });
  if (units != 1) {
    fail_usage("{}: {} of the keys {} say how long the runs are; one of them must", file.string(),
               units == 0 ? "none" : "several", fmt::join(kUnits, ", "));
  }
}

std::string text_of(const YAML::Node& node) {
  YAML::Emitter out;
  out << node;
  return std::string(out.c_str()) + "\n";
}

/// The name of an option as a command line has it.
std::string option_name(const YAML::Node& key) {
  auto name = key.as<std::string>();
  std::ranges::replace(name, '_', '-');
  return name;
}

/// Takes an option out of options, which may be in groups.
void remove_option(YAML::Node options, const std::string& name) {
  std::vector<YAML::Node> found;
  for (const auto& entry : options) {
    if (entry.second.IsMap()) {
      remove_option(entry.second, name);
    } else if (option_name(entry.first) == name) {
      found.push_back(entry.first);
    }
  }
  for (const auto& key : found) options.remove(key);
}

/// Puts each option of `other` in the place of the one that is there.
void lay_over(YAML::Node& options, const YAML::Node& other) {
  for (const auto& entry : other) {
    if (entry.second.IsMap()) {
      lay_over(options, entry.second);
    } else {
      const auto name = option_name(entry.first);
      remove_option(options, name);
      options[name] = entry.second;
    }
  }
}

/// Options of a map, of a file, or of a list of these, of which later ones go over earlier ones.
YAML::Node options_of(const YAML::Node& node, const fs::path& file, const std::string& what) {
  if (!node.IsDefined() || node.IsNull()) return YAML::Node(YAML::NodeType::Map);
  if (node.IsMap()) return YAML::Clone(node);
  if (node.IsSequence()) {
    YAML::Node all(YAML::NodeType::Map);
    for (const auto& part : node) lay_over(all, options_of(part, file, what));
    return all;
  }
  // Beside the plan, or from where the command runs.
  const fs::path given = node.as<std::string>();
  const auto path = fs::exists(file.parent_path() / given) ? file.parent_path() / given : given;
  YAML::Node options;
  try {
    options = YAML::LoadFile(path.string());
  } catch (const YAML::Exception& error) {
    fail_usage("{}: {}: cannot read {}: {}", file.string(), what, path.string(), error.what());
  }
  if (options.IsNull()) return YAML::Node(YAML::NodeType::Map);
  if (!options.IsMap())
    fail_usage("{}: {}: {} holds no options", file.string(), what, path.string());
  // A recipe of one run says what the plan says of each run.
  for (const auto& name : kOptionsOfPlan) remove_option(options, name);
  return options;
}

std::string options_text(const YAML::Node& node, const fs::path& file, const std::string& what) {
  return text_of(options_of(node, file, what));
}

template <typename T>
std::vector<T> numbers(const YAML::Node& plan, const fs::path& file, const std::string& key) {
  auto values = plan[key].IsScalar() ? std::vector<T>{value_of<T>(plan, file, key)}
                                     : value_of<std::vector<T>>(plan, file, key);
  std::ranges::sort(values);
  if (values.empty() || std::ranges::adjacent_find(values) != values.end())
    fail_usage("{}: '{}' needs at least one number, each of them once", file.string(), key);
  return values;
}

void set_length(OptimizationOptions& options, PlanUnit unit, double length) {
  if (unit == PlanUnit::kUpdates) {
    options.max_update = static_cast<int64_t>(length);
  } else {
    options.budget = fmt::format("{}={}", unit_name(unit), length);
  }
}

/// A method's options over the base, and a setting's over these, as training reads them: those that
/// runs must share, each by its name, as text. `lengths`: of the method's runs.
std::map<std::string, std::string> read_options(const ComparePlan& plan, const std::string& method,
                                                const std::vector<std::string>& options,
                                                const std::vector<double>& lengths) {
  const TemporaryFolder folder("", "name one that can be written in TMPDIR");
  std::vector<std::string> arguments = {plan.data};
  const auto add = [&](const std::string& text) {
    const auto path = folder.path() / fmt::format("{}.{}.yaml", method, arguments.size());
    write_file(path, [&](std::ostream& out) { out << text; });
    arguments.insert(arguments.end(), {"--config", path.string()});
  };
  add(plan.base);
  std::ranges::for_each(options, add);
  TrainOptions train;
  OptionTable table("train", "");
  train.describe(table);
  try {
    table.parse(arguments);
    for (const auto& name : kOptionsOfPlan) {
      const auto value = table.at(name).value();
      if (table.is_set(name) && !value.is_null() && value != false)
        fail_usage("--{} is what the plan says of each run; leave it out of base and methods",
                   name);
    }
    validate_options(train);
    for (const auto length : lengths) {
      set_length(train.optimization, plan.unit, length);
      train.optimization.validate();
      const auto shared = train.evolution.shared_expert_updates;
      if (plan.unit == PlanUnit::kUpdates && shared > 0 && length <= static_cast<double>(shared)) {
        fail_usage(
            "a run of {} would end before its experts are spawned (--shared-expert-updates {}); "
            "make the runs longer or that stage shorter",
            plan.length_text(length), shared);
      }
    }
  } catch (const UsageError& error) {
    fail_usage("{}: method '{}': {}", plan.file.string(), method, error.what());
  }
  std::map<std::string, std::string> values;
  for (const auto& option : table.options()) {
    const auto& name = option->name();
    const bool of_data = option->group() == "task" || option->group() == "dataset";
    if ((of_data && name != kFreeOption) || std::ranges::count(kCommonOptions, name) > 0)
      values[name] = json_text(option->value());
  }
  return values;
}

void check_methods(const ComparePlan& plan) {
  std::map<std::string, std::string> first;
  const auto check = [&](const std::string& method, const std::vector<std::string>& options,
                         const std::vector<double>& lengths) {
    const auto values = read_options(plan, method, options, lengths);
    if (first.empty()) first = values;
    for (const auto& [name, value] : values) {
      if (value == first.at(name)) continue;
      fail_usage(
          "{}: --{} is {} for the method '{}' and {} for '{}': methods are compared with the same "
          "data and batches; put it into 'base'",
          plan.file.string(), name, value, method, first.at(name), plan.methods.front().first);
    }
  };
  for (const auto& [method, options] : plan.methods) {
    if (method.empty() || method == kBaseName ||
        method.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "0123456789_") != std::string::npos)
      fail_usage("{}: the method '{}' needs a name of letters, digits and underscores, not '{}'",
                 plan.file.string(), method, kBaseName);
    check(method, {options}, plan.lengths);
    const auto search = plan.search.find(method);
    if (search == plan.search.end()) continue;
    auto lengths = plan.trial_lengths(search->second.size());
    lengths.insert(lengths.end(), plan.lengths.begin(), plan.lengths.end());
    for (const auto& setting : search->second) check(method, {options, setting.options}, lengths);
  }
}

/// Every combination of the values of a method's options, the last option's changing first.
std::vector<PlanSetting> settings_of(const YAML::Node& options, const fs::path& file,
                                     const std::string& method) {
  const auto refuse = [&](const std::string& what) {
    fail_usage("{}: 'search' of '{}': {}", file.string(), method, what);
  };
  constexpr size_t kMost = 1024;
  if (!options.IsMap() || options.size() == 0)
    refuse("it is a map from options to lists of values, as {lr: [0.001, 0.002]}");
  std::vector<PlanSetting> settings(1);
  for (const auto& option : options) {
    const auto name = option.first.as<std::string>();
    const auto& values = option.second;
    if (!values.IsSequence() || values.size() == 0)
      refuse(fmt::format("'{}' needs a list of the values to try", name));
    std::vector<PlanSetting> longer;
    for (const auto& setting : settings) {
      for (const auto& value : values) {
        YAML::Emitter text;
        text << YAML::Flow << value;
        longer.push_back({fmt::format("{}{}{} {}", setting.words, setting.words.empty() ? "" : ", ",
                                      name, text.c_str()),
                          fmt::format("{}{}: {}\n", setting.options, name, text.c_str())});
      }
    }
    settings = std::move(longer);
    if (settings.size() > kMost) refuse(fmt::format("more than {} combinations", kMost));
  }
  std::set<std::string> different;
  for (const auto& setting : settings) {
    if (!different.insert(setting.words).second)
      refuse(fmt::format("'{}' comes twice", setting.words));
  }
  return settings;
}

void read_search(ComparePlan& plan, const YAML::Node& node) {
  const auto search = node["search"];
  if (!search.IsDefined()) return;
  const auto file = plan.file.string();
  if (!search.IsMap() || search.size() == 0)
    fail_usage("{}: 'search' is a map from methods to their options and values", file);
  for (const auto& entry : search) {
    const auto method = entry.first.as<std::string>();
    if (std::ranges::none_of(plan.methods, [&](const auto& of) { return of.first == method; }))
      fail_usage("{}: 'search' has '{}', which is none of the methods", file, method);
    auto& settings = plan.search[method] = settings_of(entry.second, plan.file, method);
    const auto lengths = plan.trial_lengths(settings.size());
    if (!lengths.empty() && lengths.front() < 1) {
      fail_usage(
          "{}: 'search' of '{}': its {} settings take {} rounds, the first of less than one "
          "of the unit '{}'; try fewer, or make the shortest length longer",
          file, method, settings.size(), lengths.size(), unit_name(plan.unit));
    }
  }
  if (std::ranges::count(plan.seeds, kSearchSeed) > 0) {
    fail_usage(
        "{}: the seed {} is that of the search, so that no setting is chosen for the luck of "
        "a seed that is compared; leave it out of 'seeds'",
        file, kSearchSeed);
  }
}

void read_lengths(ComparePlan& plan, const YAML::Node& node) {
  for (size_t i = 0; i < kUnits.size(); ++i) {
    if (!node[kUnits[i]].IsDefined()) continue;
    plan.unit = static_cast<PlanUnit>(i);
    plan.lengths = numbers<double>(node, plan.file, kUnits[i]);
  }
  for (const auto length : plan.lengths) {
    const double most = plan.unit == PlanUnit::kUpdates ? 1e15 : 1e24;
    if (!(length >= 1 && length <= most && length == std::floor(length))) {
      fail_usage("{}: '{}' has {}; lengths are whole numbers from 1 to {}", plan.file.string(),
                 unit_name(plan.unit), length, most);
    }
  }
}

}  // namespace

const std::string& unit_name(PlanUnit unit) { return kUnits[static_cast<size_t>(unit)]; }

std::string ComparePlan::length_text(double length) const {
  return fmt::format("{} {}", number_text(length, unit), unit_name(unit));
}

std::vector<double> ComparePlan::trial_lengths(size_t settings) const {
  std::vector<double> trials;
  double length = lengths.front();
  for (; settings > 1; settings = (settings + 1) / 2, length = std::floor(length / 2))
    trials.insert(trials.begin(), length);
  return trials;
}

std::string PlannedRun::name() const {
  const auto tried = is_trial && setting ? fmt::format(".s{}", *setting + 1) : std::string();
  return fmt::format("{}{}.{}{}-{}", method, tried, number_text(length, unit),
                     unit == PlanUnit::kUpdates ? "" : unit_name(unit), seed);
}

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
  if (node["seeds"].IsDefined()) plan.seeds = numbers<int64_t>(node, file, "seeds");
  if (plan.seeds.front() < 0)
    fail_usage("{}: 'seeds' has {}; a seed is not below 0", file.string(), plan.seeds.front());
  read_lengths(plan, node);
  plan.baseline = node["baseline"].IsDefined() ? value_of<std::string>(node, file, "baseline")
                                               : plan.methods.front().first;
  if (std::ranges::none_of(plan.methods,
                           [&](const auto& method) { return method.first == plan.baseline; }))
    fail_usage("{}: baseline '{}' is none of the methods", file.string(), plan.baseline);
  read_search(plan, node);
  check_methods(plan);
  return plan;
}

std::vector<PlannedRun> runs_of(const ComparePlan& plan,
                                const std::map<std::string, size_t>& chosen) {
  std::vector<PlannedRun> runs;
  for (const auto length : plan.lengths) {
    for (const auto seed : plan.seeds) {
      for (const auto& [method, options] : plan.methods) {
        PlannedRun run{.method = method, .unit = plan.unit, .length = length, .seed = seed};
        if (plan.search.contains(method)) {
          const auto setting = chosen.find(method);
          if (setting == chosen.end()) continue;
          run.setting = setting->second;
        }
        runs.push_back(std::move(run));
      }
    }
  }
  return runs;
}

}  // namespace evomoe
