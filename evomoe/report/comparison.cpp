#include "evomoe/report/comparison.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <sstream>

#include "evomoe/base/error.h"
#include "evomoe/base/parse_json.h"
#include "evomoe/base/text_layout.h"
#include "evomoe/report/progress_line.h"
#include "evomoe/report/terminal_chart.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

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

ordered_json read_data_record(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  auto record = parse_json<ordered_json>(text);
  return record.is_object() ? record : ordered_json();
}

template <typename Format>
std::string with_spread(const Measure& value, bool utf8, Format format) {
  return format(value.mean) +
         (value.deviation ? (utf8 ? " ± " : " +- ") + format(*value.deviation) : "");
}

std::string perplexity_text(double perplexity) {
  return std::isnan(perplexity) ? "diverged" : fmt::format("{:.2f}", perplexity);
}

/// Each line of `text` in lines of at most 100 columns, all indented as it is.
std::string wrapped(const std::string& text) {
  std::istringstream lines(text);
  std::string result;
  for (std::string line; std::getline(lines, line);) {
    const size_t indent = std::min(line.find_first_not_of(' '), line.size());
    result += line.substr(0, indent) + wrap_words(line, 100, indent) + "\n";
  }
  return result;
}

/// The value under keys one in the other, null where there is none.
ordered_json value_at(const ordered_json& record, std::initializer_list<std::string> keys) {
  ordered_json value = record;
  for (const auto& key : keys) {
    if (!value.is_object() || !value.contains(key)) return nullptr;
    value = ordered_json(value.at(key));
  }
  return value;
}

std::string shown(const ordered_json& value) {
  if (value.is_null()) return "not given";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// 12 % more; the same.
std::string change_text(double from, double to, const char* more, const char* less) {
  if (!(from > 0)) return "";
  const double percent = 100 * (to / from - 1);
  const auto text = fmt::format("{:.1f}", std::abs(percent));
  return text == "0.0" ? "the same" : fmt::format("{} % {}", text, percent > 0 ? more : less);
}

/// The validation data of runs `a` and `b` as far as both tell of them: what is not the same.
std::vector<std::string> data_differences(const ordered_json& a, const ordered_json& b,
                                          const std::string& subset) {
  std::vector<std::string> found;
  const auto differs = [&](std::initializer_list<std::string> keys) {
    const auto one = value_at(a, keys), other = value_at(b, keys);
    return !one.is_null() && !other.is_null() && one != other;
  };
  const auto both = [&](std::initializer_list<std::string> keys) {
    return shown(value_at(b, keys)) + " against " + shown(value_at(a, keys));
  };
  for (const auto* side : {"", "source_"}) {
    const auto vocabulary = side + std::string("vocabulary");
    const auto words = *side != '\0' ? "source " : "";
    if (differs({"model", vocabulary})) {
      found.push_back(
          fmt::format("{}vocabularies of {} symbols", words, both({"model", vocabulary})));
    } else if (differs({"model", side + std::string("dictionary")})) {
      found.push_back(fmt::format("other symbols in the {}dictionary", words));
    }
    if (value_at(a, {"model", "dictionary"}) == value_at(a, {"model", "source_dictionary"}) &&
        value_at(b, {"model", "dictionary"}) == value_at(b, {"model", "source_dictionary"}))
      break;  // one dictionary, and told of once
  }
  if (differs({"valid", subset, "tokens"})) {
    found.push_back(fmt::format("validation data '{}' of {} tokens", subset,
                                both({"valid", subset, "tokens"})));
  } else if (differs({"valid", subset, "xxh64"})) {
    found.push_back(fmt::format("other text in the validation data '{}'", subset));
  }
  const auto settings_a = value_at(a, {"settings"}), settings_b = value_at(b, {"settings"});
  if (settings_a.is_object() && settings_b.is_object()) {
    for (const auto& [flag, value] : settings_b.items()) {
      if (settings_a.contains(flag) && settings_a.at(flag) != value)
        found.push_back(
            fmt::format("--{} {} against {}", flag, shown(value), shown(settings_a.at(flag))));
    }
  }
  return found;
}

}  // namespace

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
                       const std::string& baseline) {
  for (auto& history : runs) {
    const auto name = group ? name_of_row(history.name) : history.name;
    auto row = std::find_if(rows_.begin(), rows_.end(),
                            [&](const ComparedRow& known) { return known.name == name; });
    if (row == rows_.end()) row = rows_.insert(rows_.end(), ComparedRow{name, {}});
    ComparedRun run;
    run.training = training_points(history);
    run.validations = validation_points(history, subset);
    run.data = read_data_record(history.folder / "data.json");
    run.history = std::move(history);
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
  // The data of a validation as its stage routes are those of the subset itself.
  const std::string suffix = "_stage";
  const auto split = !first.data.is_null() &&
                             !value_at(first.data, {"valid", subset}).is_object() &&
                             subset.ends_with(suffix)
                         ? subset.substr(0, subset.size() - suffix.size())
                         : subset;
  std::vector<std::string> unknown;
  size_t runs = 0;
  for (const auto& row : rows_) {
    runs += row.runs.size();
    for (const auto& run : row.runs) {
      if (run.data.is_null()) unknown.push_back(run.history.name);
      if (&run == &first || run.data.is_null() || first.data.is_null()) continue;
      const auto found = data_differences(first.data, run.data, split);
      if (!found.empty())
        differences_.push_back(fmt::format("{} and {} have {}", run.history.name,
                                           first.history.name, fmt::join(found, "; ")));
      // Their number of items follows from --tokens-per-sample.
      const auto one = value_at(first.data, {"train", "tokens"});
      const auto other = value_at(run.data, {"train", "tokens"});
      if (one != other) {
        notes_.push_back(fmt::format(
            "{} was trained on other data than {}: {} tokens of {} against {} of {}",
            run.history.name, first.history.name, shown(other), shown(value_at(run.data, {"data"})),
            shown(one), shown(value_at(first.data, {"data"}))));
      }
    }
  }
  if (runs > 1 && !unknown.empty()) {
    notes_.push_back(fmt::format(
        "whether the runs have the same data and vocabulary is not known: there is no data.json "
        "(older versions did not write it) in {}",
        fmt::join(unknown, ", ")));
  }
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

namespace {

/// What the evolution of a run did, of its first training line with the most work to its last;
/// empty: its work did not change.
std::string evolution_text(const ComparedRun& run, const std::string& name) {
  const TrainingPoint* most = nullptr;
  const TrainingPoint* last = nullptr;
  for (const auto& point : run.training) {
    if (!point.active_experts || !point.flops_per_update) continue;
    if (most == nullptr || *point.active_experts > *most->active_experts) most = &point;
    last = &point;
  }
  if (most == nullptr || *most->active_experts < *last->active_experts + 0.05) return "";
  auto text = fmt::format(
      "{}'s evolution: experts per token fell from {:.2f} (update {}) to {:.2f} (update {}), "
      "compute per update from {:.3g} to {:.3g} GFLOP ({})",
      name, *most->active_experts, most->updates, *last->active_experts, last->updates,
      *most->flops_per_update / 1e9, *last->flops_per_update / 1e9,
      change_text(*most->flops_per_update, *last->flops_per_update, "more", "less"));
  if (most->ms_per_update && last->ms_per_update) {
    text += fmt::format(", time per update from {:.3g} to {:.3g} ms ({})", *most->ms_per_update,
                        *last->ms_per_update,
                        change_text(*most->ms_per_update, *last->ms_per_update, "more", "less"));
  }
  return text + ".\n";
}

bool changes_experts(const ComparedRun& run) {
  double least = std::numeric_limits<double>::infinity(), most = -least;
  for (const auto& point : run.training) {
    if (!point.active_experts) continue;
    least = std::min(least, *point.active_experts);
    most = std::max(most, *point.active_experts);
  }
  return most > least + 0.05;
}

/// Is the gap between two means of several seeds no larger than their spread?
bool is_within_spread(const Measure& one, const Measure& other) {
  return one.deviation && other.deviation &&
         std::abs(one.mean - other.mean) < *one.deviation + *other.deviation;
}

/// "switch is best: its perplexity ..."; the others beside it.
std::string ranking_text(const std::vector<ComparedRow>& rows) {
  const ComparedRow* best = nullptr;
  for (const auto& row : rows) {
    const double perplexity = row.perplexity().mean;
    if (!std::isnan(perplexity) && (best == nullptr || perplexity < best->perplexity().mean))
      best = &row;
  }
  if (best == nullptr) return "Every run has diverged: no perplexity is a number.\n";
  const auto best_perplexity = best->perplexity();
  const auto best_seconds = best->seconds().mean;
  const bool open = std::any_of(rows.begin(), rows.end(), [&](const ComparedRow& row) {
    return &row != best && is_within_spread(row.perplexity(), best_perplexity);
  });
  auto text = fmt::format("{} {} {}perplexity{} {}, after {} of training.\n", best->name,
                          open ? "has the lowest" : "is best: its",
                          best->runs.size() > 1 ? "mean " : "", open ? "," : " is",
                          perplexity_text(best_perplexity.mean), duration_text(best_seconds));
  bool one_run_each = true, same_length = true;
  for (const auto& row : rows) {
    one_run_each = one_run_each && row.runs.size() == 1;
    same_length = same_length && row.updates().mean == best->updates().mean;
    if (&row == best) continue;
    const auto perplexity = row.perplexity();
    if (std::isnan(perplexity.mean)) {
      text += fmt::format("{} has diverged.\n", row.name);
      continue;
    }
    const auto gap = change_text(best_perplexity.mean, perplexity.mean, "above it", "below it");
    const auto seconds = row.seconds().mean;
    text += fmt::format(
        "{}: {}, {}; training took {} ({} against {}), with {} compute per token.\n", row.name,
        perplexity_text(perplexity.mean), gap,
        change_text(best_seconds, seconds, "longer", "less time"), duration_text(seconds),
        duration_text(best_seconds),
        change_text(best->gflops_per_token().mean, row.gflops_per_token().mean, "more", "less"));
    if (is_within_spread(perplexity, best_perplexity)) {
      text += "  That gap is no larger than the spread of their seeds: which is better is open.\n";
    }
  }
  if (!same_length) text += "The runs have different numbers of updates: see the table.\n";
  if (one_run_each && rows.size() > 1) {
    text +=
        "One run each: another seed can move a perplexity by a per cent or so (SEEDS=\"1 2 3\" of "
        "scripts/experiment.sh trains several, and --group shows their mean and spread).\n";
  }
  return text;
}

}  // namespace

std::string Comparison::verdict() const {
  const auto& name = baseline().name;
  auto text = fmt::format(
      "Perplexity: lower is better (how many tokens the model hesitates between, on text that it "
      "was not trained on).\n"
      "Time to {0}'s: the training time after which a run was first as good as {0} is at its "
      "end.\n\n",
      name);
  if (!differences_.empty()) {
    text += "The perplexities of these runs are not comparable:\n";
    for (const auto& difference : differences_) text += "  " + difference + ".\n";
  } else {
    text += ranking_text(rows_);
  }
  for (const auto& note : notes_) text += "Note: " + note + ".\n";
  for (const auto& row : rows_) {
    const auto& run = row.runs.front();
    text += evolution_text(run, row.runs.size() > 1 ? run.history.name : row.name);
  }
  return wrapped(text);
}

std::string Comparison::pictures(bool utf8) const {
  for (const auto& row : rows_) {
    for (const auto& run : row.runs) {
      if (!changes_experts(run)) continue;
      TerminalChart experts{run.history.name + ": experts per token", {}, {}, "updates"};
      for (const auto& mark : stage_marks(run.history))
        experts.marks.emplace_back(static_cast<double>(mark.update), mark.name);
      auto time = experts;
      time.title = run.history.name + ": milliseconds per update";
      for (const auto& point : run.training) {
        const auto x = static_cast<double>(point.updates);
        if (point.active_experts) experts.points.emplace_back(x, *point.active_experts);
        if (point.ms_per_update) time.points.emplace_back(x, *point.ms_per_update);
      }
      return chart_text(experts, utf8) + "\n" + chart_text(time, utf8);
    }
  }
  return "";
}

}  // namespace evomoe
