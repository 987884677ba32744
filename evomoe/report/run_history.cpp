#include "evomoe/report/run_history.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/report/run_log.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

/// In its shortest spelling, without a slash at the end.
fs::path normal(const fs::path& folder) {
  const auto path = folder.lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

/// The list `routers` of a line, empty where there is none.
const ordered_json& routers_of(const ordered_json& line) {
  static const auto none = ordered_json::array();
  const auto found = line.find("routers");
  return found != line.end() && found->is_array() ? *found : none;
}

std::optional<double> over_layers(const ordered_json& line, const char* key,
                                  double (*join)(double, double)) {
  std::optional<double> result;
  for (const auto& router : routers_of(line)) {
    if (!router.is_object()) continue;
    if (const auto value = log_number(router, key))
      result = result ? join(*result, *value) : *value;
  }
  return result;
}

}  // namespace

RunHistory find_run(const std::string& folder) {
  RunHistory run;
  run.folder = normal(fs::absolute(folder));
  run.name = run.folder.filename().string();
  EVOMOE_CHECK(fs::exists(run.folder), "{}: there is no such run folder", folder);
  EVOMOE_CHECK(fs::exists(run.log()), "{}: this is no run folder (it has no log.jsonl)", folder);
  return run;
}

RunHistory read_run_history(const std::string& folder) {
  auto run = find_run(folder);
  run.lines = read_run_log(run.log(), &run.cut);
  return run;
}

void name_apart(std::vector<RunHistory*> runs, const std::vector<std::string>& folders,
                const std::string& command) {
  std::map<std::string, int> count;
  for (const auto* run : runs) ++count[run->name];
  for (size_t i = 0; i < runs.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (fs::equivalent(runs[i]->folder, runs[j]->folder))
        fail_usage("{}: {} and {} are the same run folder", command, folders[j], folders[i]);
    }
    if (count.at(runs[i]->name) > 1) runs[i]->name = normal(folders[i]).string();
  }
}

void warn_of_cut_log(const fs::path& path) {
  log().warn(
      "{}: its last line is not complete (the run is writing it, or was killed); it is read up to "
      "there",
      path.string());
}

std::vector<RunHistory> read_run_histories(const std::vector<std::string>& folders,
                                           const std::string& command) {
  std::vector<RunHistory> runs;
  for (const auto& folder : folders) runs.push_back(read_run_history(folder));
  std::vector<RunHistory*> each;
  for (auto& run : runs) each.push_back(&run);
  name_apart(each, folders, command);
  for (const auto& run : runs) {
    if (run.cut) warn_of_cut_log(run.log());
  }
  return runs;
}

std::string log_tag(const ordered_json& line) {
  const auto tag = line.find("tag");
  return tag != line.end() && tag->is_string() ? tag->get<std::string>() : "";
}

int64_t log_updates(const ordered_json& line) {
  const double updates = log_number(line, "completed_updates").value_or(0);
  return updates >= 0 && updates < 1e18 ? static_cast<int64_t>(updates) : 0;
}

std::optional<StageMark> stage_mark(const ordered_json& line) {
  const auto name = line.find("stage");
  if (log_tag(line) != "stage" || name == line.end() || !name->is_string()) return std::nullopt;
  return StageMark{log_updates(line), name->get<std::string>()};
}

std::optional<TrainingPoint> TrainingPoints::read(const ordered_json& line) {
  if (log_tag(line) != "train_inner") return std::nullopt;
  TrainingPoint point;
  point.updates = log_updates(line);
  const auto updates = static_cast<double>(point.updates - updates_);
  updates_ = point.updates;
  const auto tokens_per_update = log_number(line, "wpb");
  const auto flops_per_token = log_number(line, "flops_per_token");
  if (tokens_per_update && flops_per_token)
    point.flops_per_update = *tokens_per_update * *flops_per_token;
  tokens_ += updates * tokens_per_update.value_or(kUnknown);
  flops_ += updates * point.flops_per_update.value_or(kUnknown);
  point.tokens = tokens_ = log_number(line, "train_tokens").value_or(tokens_);
  point.flops = flops_ = log_number(line, "flops").value_or(flops_);
  point.seconds = log_number(line, "elapsed").value_or(kUnknown);
  for (const auto* key : {"loss", "inner_loss", "nll_loss"}) {
    if (const auto loss = log_number(line, key)) point.loss = loss;
  }
  const auto evolution = line.find("evolution");
  if (evolution != line.end() && evolution->is_object())
    point.temperature = log_number(*evolution, "temperature");
  point.active_experts = log_number(line, "active_experts");
  point.max_violation =
      over_layers(line, "max_vio", [](double a, double b) { return std::max(a, b); });
  point.dead_experts = over_layers(line, "dead_experts", [](double a, double b) { return a + b; });
  point.ms_per_update = log_number(line, "ms_per_update");
  // Older logs have the speed alone, validations and checkpoints included.
  const auto speed = log_number(line, "ups");
  if (!point.ms_per_update && speed && *speed > 0) point.ms_per_update = 1000 / *speed;
  return point;
}

std::vector<TrainingPoint> training_points(const RunHistory& run) {
  TrainingPoints reader;
  std::vector<TrainingPoint> points;
  for (const auto& line : run.lines) {
    if (const auto point = reader.read(line)) points.push_back(*point);
  }
  return points;
}

std::vector<std::string> validated_subsets(const RunHistory& run) {
  std::vector<std::string> subsets;
  for (const auto& line : run.lines) {
    const auto tag = log_tag(line);
    if (line.contains(tag + "_perplexity") &&
        std::find(subsets.begin(), subsets.end(), tag) == subsets.end())
      subsets.push_back(tag);
  }
  std::sort(subsets.begin(), subsets.end());
  return subsets;
}

std::vector<ValidationPoint> validation_points(const RunHistory& run, const std::string& subset) {
  std::vector<ValidationPoint> points;
  bool without_perplexity = false;
  for (const auto& line : run.lines) {
    if (log_tag(line) != subset) continue;
    if (line.contains(subset + "_elapsed") && !line.contains(subset + "_perplexity")) {
      without_perplexity = true;
      continue;
    }
    const auto number = [&](const std::string& key) {
      const auto value = log_number(line, key);
      EVOMOE_CHECK(value.has_value(),
                   "{}: a line of '{}' has no number '{}'; it was not written by this version of "
                   "evomoe train",
                   run.log().string(), subset, key);
      return *value;
    };
    // JSON has no NaN and no infinity: a run that has diverged has null.
    const auto perplexity = line.find(subset + "_perplexity");
    const bool diverged = perplexity != line.end() && perplexity->is_null();
    ValidationPoint point;
    point.perplexity = diverged ? kUnknown : number(subset + "_perplexity");
    point.seconds = number(subset + "_elapsed");
    point.flops = number(subset + "_flops");
    point.tokens = number(subset + "_train_tokens");
    point.updates = log_updates(line);
    points.push_back(point);
  }
  EVOMOE_CHECK(!points.empty() || !without_perplexity,
               "{}: the validations of this run have no perplexity: its task predicts classes or "
               "numbers, or no token of the split is a target",
               run.log().string());
  if (points.empty()) {
    const auto others = validated_subsets(run);
    fail("{}: its log holds no validation of '{}' yet{}", run.folder.string(), subset,
         others.empty() ? ""
                        : fmt::format("; it holds those of: {}; choose one with --valid-subset",
                                      fmt::join(others, ", ")));
  }
  return points;
}

std::vector<StageMark> stage_marks(const RunHistory& run) {
  std::vector<StageMark> marks;
  for (const auto& line : run.lines) {
    if (auto mark = stage_mark(line)) marks.push_back(std::move(*mark));
  }
  return marks;
}

}  // namespace evomoe
