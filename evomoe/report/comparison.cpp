#include "evomoe/report/comparison.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/report/compared_data.h"
#include "evomoe/report/progress_line.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

template <typename Value>
Measure measure_of(const ComparedRow& row, Value value) {
  std::vector<double> values;
  for (const auto& run : row.runs) values.push_back(value(run));
  return measure(values);
}

double ratio(double part, double whole) { return whole > 0 ? part / whole : 0; }

std::optional<double> last_active(const ComparedRun& run) {
  for (auto point = run.training.rbegin(); point != run.training.rend(); ++point) {
    if (point->active_experts) return point->active_experts;
  }
  return std::nullopt;
}

/// A name without the number behind its last hyphen: switch-2 -> switch.
std::string name_of_row(const std::string& name) {
  const auto hyphen = name.rfind('-');
  const bool numbered = hyphen != std::string::npos && hyphen > 0 && hyphen + 1 < name.size() &&
                        name.find_first_not_of("0123456789", hyphen + 1) == std::string::npos;
  return numbered ? name.substr(0, hyphen) : name;
}

std::vector<ComparedRun> compared_runs(std::vector<RunHistory> histories,
                                       const std::string& subset) {
  std::vector<ComparedRun> runs;
  for (auto& history : histories) {
    ComparedRun run;
    run.training = training_points(history);
    run.validations = validation_points(history, subset);
    run.data = read_data_record(history.folder);
    run.history = std::move(history);
    runs.push_back(std::move(run));
  }
  return runs;
}

}  // namespace

Measure measure(const std::vector<double>& values) {
  const auto count = static_cast<double>(values.size());
  Measure result;
  for (const double value : values) result.mean += value / count;
  if (values.size() < 2) return result;
  double square = 0;
  for (const double value : values) square += (value - result.mean) * (value - result.mean);
  result.deviation = std::sqrt(square / (count - 1));
  return result;
}

std::string with_spread(const Measure& value, bool utf8,
                        const std::function<std::string(double)>& format) {
  return format(value.mean) +
         (value.deviation ? (utf8 ? " ± " : " +- ") + format(*value.deviation) : "");
}

Measure ComparedRow::perplexity() const {
  return measure_of(*this, [](const ComparedRun& run) { return run.last().perplexity; });
}
Measure ComparedRow::seconds() const {
  return measure_of(*this, [](const ComparedRun& run) { return run.last().seconds; });
}
Measure ComparedRow::gflops_per_token() const {
  return measure_of(*this, [](const ComparedRun& run) {
    return ratio(run.last().flops, run.last().tokens) / 1e9;
  });
}
Measure ComparedRow::tokens_per_second() const {
  return measure_of(
      *this, [](const ComparedRun& run) { return ratio(run.last().tokens, run.last().seconds); });
}
Measure ComparedRow::updates() const {
  return measure_of(*this,
                    [](const ComparedRun& run) { return static_cast<double>(run.last().updates); });
}

std::optional<Measure> ComparedRow::active_experts() const {
  std::vector<double> values;
  for (const auto& run : runs) {
    if (const auto active = last_active(run)) values.push_back(*active);
  }
  if (values.empty()) return std::nullopt;
  return measure(values);
}

TimeTo ComparedRow::time_to(double perplexity) const {
  std::vector<double> values;
  for (const auto& run : runs) {
    const auto first =
        std::find_if(run.validations.begin(), run.validations.end(),
                     [&](const ValidationPoint& point) { return point.perplexity <= perplexity; });
    if (first != run.validations.end()) values.push_back(first->seconds);
  }
  if (values.empty()) return {};
  return {measure(values), values.size()};
}

Comparison::Comparison(std::vector<RunHistory> runs, const std::string& subset, bool group,
                       const std::string& baseline)
    : Comparison(compared_runs(std::move(runs), subset), subset, group, baseline) {}

Comparison::Comparison(std::vector<ComparedRun> runs, const std::string& subset, bool group,
                       const std::string& baseline) {
  for (auto& run : runs) {
    const auto name = group ? name_of_row(run.history.name) : run.history.name;
    auto row = std::find_if(rows_.begin(), rows_.end(),
                            [&](const ComparedRow& known) { return known.name == name; });
    if (row == rows_.end()) row = rows_.insert(rows_.end(), ComparedRow{name, {}});
    row->runs.push_back(std::move(run));
  }
  baseline_ = find_baseline(baseline);
  compare_data(subset);
}

/// By a run's folder, else by the name of a row or of a run's folder.
size_t Comparison::find_baseline(const std::string& baseline) const {
  if (baseline.empty()) return 0;
  std::vector<size_t> found;
  std::vector<std::string> names;
  for (size_t i = 0; i < rows_.size(); ++i) {
    names.push_back(rows_[i].name);
    bool named = rows_[i].name == baseline;
    for (const auto& run : rows_[i].runs) {
      std::error_code missing;
      if (fs::equivalent(run.history.folder, baseline, missing)) return i;
      named = named || run.history.folder.filename() == baseline;
    }
    if (named) found.push_back(i);
  }
  if (found.empty()) {
    fail_usage("--baseline {}: it must be one of the run folders given: {}", baseline,
               fmt::join(names, ", "));
  }
  if (found.size() > 1) {
    fail_usage("--baseline {}: several of the run folders have this name; give the path of one: {}",
               baseline, fmt::join(names, ", "));
  }
  return found.front();
}

void Comparison::compare_data(const std::string& subset) {
  const auto& first = baseline().runs.front();
  std::vector<std::string> unknown;
  size_t runs = 0;
  for (const auto& row : rows_) {
    runs += row.runs.size();
    for (const auto& run : row.runs) {
      if (run.data.is_null()) unknown.push_back(run.history.name);
      if (&run == &first || run.data.is_null() || first.data.is_null()) continue;
      const auto found = data_differences(first.data, run.data, subset);
      if (!found.empty())
        differences_.push_back(fmt::format("{} and {} have {}", run.history.name,
                                           first.history.name, fmt::join(found, "; ")));
      if (const auto other = training_difference(first.data, run.data))
        notes_.push_back(fmt::format("{} was trained on other data than {}: {}", run.history.name,
                                     first.history.name, *other));
    }
  }
  if (runs > 1 && !unknown.empty()) {
    notes_.push_back(fmt::format(
        "whether the runs have the same data and vocabulary is not known: there is no data.json "
        "(older versions did not write it) in {}",
        fmt::join(unknown, ", ")));
  }
}

std::string perplexity_text(double perplexity) {
  return std::isnan(perplexity) ? "diverged" : fmt::format("{:.2f}", perplexity);
}

Table Comparison::table(bool utf8) const {
  const double goal = baseline().perplexity().mean;
  Table table({"run", "updates", "perplexity", "time", "time to " + baseline().name + "'s",
               "GFLOP/token", "tokens/s", "experts/token at end"});
  for (const auto& row : rows_) {
    const auto [seconds, reached] = row.time_to(goal);
    auto reached_text = seconds ? with_spread(*seconds, utf8, duration_text) : "not reached";
    if (seconds && reached < row.runs.size())
      reached_text += fmt::format(" ({} of {})", reached, row.runs.size());
    const auto active = row.active_experts();
    const auto fixed = [](int digits) {
      return [digits](double value) { return fmt::format("{:.{}f}", value, digits); };
    };
    const auto perplexity = row.perplexity();
    table.add_row(
        {row.runs.size() > 1 ? fmt::format("{} ({} runs)", row.name, row.runs.size()) : row.name,
         fmt::format("{:.0f}", row.updates().mean),
         std::isnan(perplexity.mean) ? "diverged" : with_spread(perplexity, utf8, perplexity_text),
         with_spread(row.seconds(), utf8, duration_text), reached_text,
         fmt::format("{:.3g}", row.gflops_per_token().mean),
         with_spread(row.tokens_per_second(), utf8, fixed(0)),
         active ? fmt::format("{:.2f}", active->mean) : "-"});
  }
  return table;
}

ordered_json Comparison::json() const {
  const double goal = baseline().perplexity().mean;
  auto json = ordered_json::array();
  for (const auto& row : rows_) {
    ordered_json entry;
    entry["run"] = row.name;
    const auto put = [&](const std::string& key, const std::optional<Measure>& value) {
      entry[key] = value ? ordered_json(value->mean) : ordered_json();
      if (row.runs.size() > 1)
        entry[key + "_deviation"] =
            value && value->deviation ? ordered_json(*value->deviation) : ordered_json();
    };
    if (row.runs.size() > 1) entry["runs"] = row.runs.size();
    entry["updates"] = static_cast<int64_t>(row.updates().mean);
    put("perplexity", row.perplexity());
    put("seconds", row.seconds());
    const auto reached = row.time_to(goal);
    put("seconds_to_baseline", reached.seconds);
    if (row.runs.size() > 1) entry["runs_at_baseline"] = reached.runs;
    put("gflops_per_token", row.gflops_per_token());
    put("tokens_per_second", row.tokens_per_second());
    put("active_experts", row.active_experts());
    json.push_back(std::move(entry));
  }
  return json;
}

}  // namespace evomoe
