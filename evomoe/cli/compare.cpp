#include <filesystem>
#include <optional>

#include "evomoe/base/error.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/report/progress_line.h"
#include "evomoe/report/run_log.h"
#include "evomoe/report/table.h"

namespace evomoe {
namespace {

struct Validation {
  double perplexity, seconds, flops, tokens;
  int64_t updates;
};

struct RunResult {
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

RunResult read_run(const std::string& folder, const std::string& subset) {
  const auto path = std::filesystem::path(folder) / "log.jsonl";
  EVOMOE_CHECK(std::filesystem::exists(path), "{}: this is no run folder (it has no log.jsonl)",
               folder);
  RunResult run;
  run.name = std::filesystem::path(folder).lexically_normal().filename().string();
  if (run.name.empty())
    run.name = std::filesystem::path(folder).lexically_normal().parent_path().filename().string();
  for (const auto& line : read_run_log(path)) {
    const auto tag = line.value("tag", "");
    if (tag == "train_inner" && line.contains("active_experts"))
      run.last_active = line["active_experts"].get<double>();
    if (tag != subset) continue;
    const auto number = [&](const char* key) { return line.at(subset + "_" + key).get<double>(); };
    run.validations.push_back({number("perplexity"), number("elapsed"), number("flops"),
                               number("train_tokens"),
                               line.at("completed_updates").get<int64_t>()});
  }
  EVOMOE_CHECK(!run.validations.empty(), "{}: its log holds no validation of '{}' yet", folder,
               subset);
  return run;
}

}  // namespace

int compare_command(const std::vector<std::string>& arguments) {
  CompareOptions flags;
  const auto bind = [](OptionTable& table, CompareOptions& o) { describe(table, o); };
  if (!parse_command("compare", arguments, flags, bind)) return 0;
  if (flags.run.empty()) fail_usage("evomoe compare: name the run folders to compare");
  std::vector<RunResult> runs;
  for (const auto& folder : flags.run) runs.push_back(read_run(folder, flags.valid_subset));
  const RunResult* baseline = &runs.front();
  if (!flags.baseline.empty()) {
    baseline = nullptr;
    for (const auto& run : runs) {
      if (run.name == flags.baseline) baseline = &run;
    }
    if (baseline == nullptr)
      fail_usage("--baseline {}: it must be the name of one of the run folders given",
                 flags.baseline);
  }
  const double goal = baseline->last().perplexity;
  auto json = nlohmann::ordered_json::array();
  Table table({"run", "updates", "perplexity", "time", "time to " + baseline->name + "'s",
               "GFLOP/token", "tokens/s", "experts/token at end"});
  for (const auto& run : runs) {
    const auto& last = run.last();
    const auto* reached = run.first_at_most(goal);
    const double gflops = last.tokens > 0 ? last.flops / last.tokens / 1e9 : 0;
    const double speed = last.seconds > 0 ? last.tokens / last.seconds : 0;
    table.add_row({run.name, fmt::format("{}", last.updates),
                   fmt::format("{:.2f}", last.perplexity), duration_text(last.seconds),
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
