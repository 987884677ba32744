#include <fmt/ranges.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/report/progress_line.h"
#include "evomoe/report/run_log.h"
#include "evomoe/report/table.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

struct Validation {
  double perplexity;  ///< NaN: the run has diverged
  double seconds, flops, tokens;
  int64_t updates;
};

struct RunResult {
  fs::path folder;  ///< absolute, without a slash at the end
  std::string name;
  std::vector<Validation> validations;
  std::optional<double> last_active;

  const Validation& last() const { return validations.back(); }
  const Validation* first_at_most(double perplexity) const {
    for (const auto& validation : validations) {
      if (validation.perplexity <= perplexity) return &validation;
    }
    return nullptr;
  }
};

/// In its shortest spelling, without a slash at the end.
fs::path normal(const fs::path& folder) {
  const auto path = folder.lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

RunResult read_run(const std::string& folder, const std::string& subset) {
  RunResult run;
  run.folder = normal(fs::absolute(folder));
  run.name = run.folder.filename().string();
  const auto path = run.folder / "log.jsonl";
  EVOMOE_CHECK(fs::exists(path), "{}: this is no run folder (it has no log.jsonl)", folder);
  std::set<std::string> others;  // further tags of validations
  for (const auto& line : read_run_log(path)) {
    const auto tag = line.value("tag", "");
    if (tag == "train_inner") {
      if (const auto active = log_number(line, "active_experts")) run.last_active = active;
    }
    if (tag != subset) {
      if (line.contains(tag + "_perplexity")) others.insert(tag);
      continue;
    }
    const auto number = [&](const std::string& key) {
      const auto value = log_number(line, key);
      EVOMOE_CHECK(value.has_value(),
                   "{}: a line of '{}' has no number '{}'; it was not written by this version of "
                   "evomoe train",
                   path.string(), subset, key);
      return *value;
    };
    // JSON has no NaN and no infinity: a run that has diverged has null.
    const auto perplexity = line.find(subset + "_perplexity");
    const bool diverged = perplexity != line.end() && perplexity->is_null();
    run.validations.push_back({diverged ? std::nan("") : number(subset + "_perplexity"),
                               number(subset + "_elapsed"), number(subset + "_flops"),
                               number(subset + "_train_tokens"),
                               static_cast<int64_t>(number("completed_updates"))});
  }
  if (run.validations.empty()) {
    fail("{}: its log holds no validation of '{}' yet{}", folder, subset,
         others.empty() ? ""
                        : fmt::format("; it holds those of: {}; choose one with --valid-subset",
                                      fmt::join(others, ", ")));
  }
  return run;
}

/// Each folder once; runs whose folders have the same name are told apart by their paths.
void name_apart(std::vector<RunResult>& runs, const std::vector<std::string>& given) {
  const auto names = [&] {
    std::map<std::string, int> count;
    for (const auto& run : runs) ++count[run.name];
    return count;
  }();
  for (size_t i = 0; i < runs.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (fs::equivalent(runs[i].folder, runs[j].folder))
        fail_usage("evomoe compare: {} and {} are the same run folder", given[j], given[i]);
    }
    if (names.at(runs[i].name) > 1) runs[i].name = normal(given[i]).string();
  }
}

/// The run that --baseline means: by its folder, else by its folder's name.
const RunResult& find_baseline(const std::vector<RunResult>& runs, const std::string& baseline) {
  if (baseline.empty()) return runs.front();
  std::vector<const RunResult*> found;
  for (const auto& run : runs) {
    std::error_code missing;
    if (fs::equivalent(run.folder, baseline, missing)) return run;
    if (run.folder.filename() == baseline) found.push_back(&run);
  }
  std::vector<std::string> names;
  for (const auto& run : runs) names.push_back(run.name);
  if (found.empty()) {
    fail_usage("--baseline {}: it must be one of the run folders given: {}", baseline,
               fmt::join(names, ", "));
  }
  if (found.size() > 1) {
    fail_usage("--baseline {}: several of the run folders have this name; give the path of one: {}",
               baseline, fmt::join(names, ", "));
  }
  return *found.front();
}

std::string perplexity_text(double perplexity) {
  return std::isnan(perplexity) ? "diverged" : fmt::format("{:.2f}", perplexity);
}

}  // namespace

int compare_command(const std::vector<std::string>& arguments) {
  CompareOptions flags;
  const auto bind = [](OptionTable& table, CompareOptions& o) { describe(table, o); };
  if (!parse_command("compare", arguments, flags, bind)) return 0;
  std::vector<RunResult> runs;
  for (const auto& folder : flags.run) runs.push_back(read_run(folder, flags.valid_subset));
  name_apart(runs, flags.run);
  const auto& baseline = find_baseline(runs, flags.baseline);
  const double goal = baseline.last().perplexity;
  auto json = nlohmann::ordered_json::array();
  Table table({"run", "updates", "perplexity", "time", "time to " + baseline.name + "'s",
               "GFLOP/token", "tokens/s", "experts/token at end"});
  for (const auto& run : runs) {
    const auto& last = run.last();
    const auto* reached = run.first_at_most(goal);
    const double gflops = last.tokens > 0 ? last.flops / last.tokens / 1e9 : 0;
    const double speed = last.seconds > 0 ? last.tokens / last.seconds : 0;
    table.add_row({run.name, fmt::format("{}", last.updates), perplexity_text(last.perplexity),
                   duration_text(last.seconds),
                   reached != nullptr ? duration_text(reached->seconds) : "not reached",
                   fmt::format("{:.4f}", gflops), fmt::format("{:.0f}", speed),
                   run.last_active ? fmt::format("{:.2f}", *run.last_active) : "-"});
    nlohmann::ordered_json entry;
    entry["run"] = run.name;
    entry["updates"] = last.updates;
    entry["perplexity"] = last.perplexity;
    entry["seconds"] = last.seconds;
    entry["seconds_to_baseline"] =
        reached != nullptr ? nlohmann::ordered_json(reached->seconds) : nlohmann::ordered_json();
    entry["gflops_per_token"] = gflops;
    entry["tokens_per_second"] = speed;
    entry["active_experts"] =
        run.last_active ? nlohmann::ordered_json(*run.last_active) : nlohmann::ordered_json();
    json.push_back(std::move(entry));
  }
  if (flags.format == "json") {
    fmt::print("{}\n", json.dump(2));
  } else {
    fmt::print("{}", flags.format == "markdown" ? table.markdown() : table.text());
  }
  return 0;
}

}  // namespace evomoe
