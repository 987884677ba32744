// What the figures of a comparison mean, in sentences and pictures.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "evomoe/base/text_layout.h"
#include "evomoe/report/comparison.h"
#include "evomoe/report/progress_line.h"
#include "evomoe/report/terminal_chart.h"

namespace evomoe {
namespace {

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

/// 12 % more; the same.
std::string change_text(double from, double to, const char* more, const char* less) {
  if (!(from > 0)) return "";
  const double percent = 100 * (to / from - 1);
  const auto text = fmt::format("{:.1f}", std::abs(percent));
  return text == "0.0" ? "the same" : fmt::format("{} % {}", text, percent > 0 ? more : less);
}

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

std::string Comparison::verdict() const { return wrapped(sentences()); }

std::string Comparison::sentences() const {
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
  return text;
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
