#include "evomoe/compare/plan_result.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>

#include "evomoe/report/comparison.h"
#include "evomoe/report/progress_line.h"
#include "evomoe/report/run_history.h"

namespace evomoe {
namespace {

using nlohmann::ordered_json;

/// Of Student's distribution, two-sided, 5 %: by degrees of freedom, from 1.
constexpr std::array kCriticalT = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
                                   2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
                                   2.110,  2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
                                   2.060,  2.056, 2.052, 2.048, 2.045, 2.042};
constexpr double kCriticalTOfMany = 1.960;

PlanPoint point_of(const ComparePlan& plan, const PlannedRun& run) {
  const auto history = read_run_history((plan.folder / run.name()).string());
  const auto last = validation_points(history, plan.subset).back();
  PlanPoint point{.run = run,
                  .perplexity = last.perplexity,
                  .seconds = last.seconds,
                  .tokens = last.tokens,
                  .flops = last.flops};
  for (const auto& training : training_points(history)) {
    if (training.active_experts) point.active_experts = training.active_experts;
    if (training.max_violation) point.max_violation = training.max_violation;
  }
  return point;
}

/// The place on a curve through points (x ascending, y) where y is `target`, between logarithms;
/// nothing: it does not come so far.
std::optional<double> crossing(const std::vector<std::pair<double, double>>& curve, double target) {
  for (size_t i = 0; i < curve.size(); ++i) {
    const auto [x, y] = curve[i];
    if (!(y <= target)) continue;
    if (i == 0) return x;
    const auto [x0, y0] = curve[i - 1];
    const double share = (std::log(y0) - std::log(target)) / (std::log(y0) - std::log(y));
    return std::exp(std::log(x0) + share * (std::log(x) - std::log(x0)));
  }
  return std::nullopt;
}

std::string with_unit(double value) {
  for (const auto& [size, unit] :
       {std::pair(1e15, "P"), {1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}}) {
    if (value >= size) return fmt::format("{:.3g} {}", value / size, unit);
  }
  return fmt::format("{:.3g}", value);
}

ordered_json json_of(const std::optional<double>& value) {
  return value ? ordered_json(*value) : ordered_json();
}

}  // namespace

double PairedDifference::mean() const { return measure(differences).mean; }

std::optional<double> PairedDifference::t() const {
  const auto spread = measure(differences);
  if (!spread.deviation || *spread.deviation == 0) return std::nullopt;
  return spread.mean / (*spread.deviation / std::sqrt(static_cast<double>(differences.size())));
}

double PairedDifference::critical_t() const {
  const auto freedom = differences.size() - 1;
  return freedom >= 1 && freedom <= kCriticalT.size() ? kCriticalT[freedom - 1] : kCriticalTOfMany;
}

std::string PairedDifference::sentence(const std::string& baseline) const {
  const auto percent = [](double difference) { return 100 * (std::exp(difference) - 1); };
  const auto better = std::ranges::count_if(differences, [](double value) { return value < 0; });
  const auto [low, high] = std::ranges::minmax(differences);
  auto text = fmt::format(
      "{} after {} updates: perplexity {:.2f} % {} than {}'s, lower with {} of {} seeds ({:+.2f} "
      "to "
      "{:+.2f} %)",
      method, updates, std::abs(percent(mean())), mean() < 0 ? "lower" : "higher", baseline, better,
      differences.size(), percent(low), percent(high));
  if (differences.size() < 2) return text + ": of chance one seed tells nothing.";
  const auto value = t();
  if (!value) return text + ".";
  return text +
         fmt::format("; t = {:.2f} where chance alone stays within {:.2f} in 95 of 100 cases: {}.",
                     *value, critical_t(),
                     std::abs(*value) > critical_t() ? "hardly chance" : "may be chance");
}

PlanResult::PlanResult(const ComparePlan& plan, std::vector<RunOutcome> outcomes)
    : plan_(plan), outcomes_(std::move(outcomes)) {
  for (const auto& outcome : outcomes_) {
    if (outcome.failure.empty()) points_.push_back(point_of(plan, outcome.run));
  }
}

std::optional<double> PlanResult::target() const {
  std::vector<double> perplexities;
  for (const auto& point : points_) {
    if (point.run.method == plan_.baseline && point.run.updates == plan_.updates.back())
      perplexities.push_back(point.perplexity);
  }
  if (perplexities.empty()) return std::nullopt;
  return measure(perplexities).mean;
}

CostToReach PlanResult::cost_to_reach(const std::string& method, double perplexity) const {
  // For each length the means over seeds.
  std::map<int64_t, std::vector<const PlanPoint*>> of_length;
  for (const auto& point : points_) {
    if (point.run.method == method && !std::isnan(point.perplexity))
      of_length[point.run.updates].push_back(&point);
  }
  const auto reached = [&](auto cost) {
    std::vector<std::pair<double, double>> curve;
    for (const auto& [updates, points] : of_length) {
      double x = 0, y = 0;
      for (const auto* point : points) {
        x += cost(*point) / static_cast<double>(points.size());
        y += point->perplexity / static_cast<double>(points.size());
      }
      curve.emplace_back(x, y);
    }
    return crossing(curve, perplexity);
  };
  CostToReach cost;
  cost.updates = reached([](const PlanPoint& p) { return static_cast<double>(p.run.updates); });
  cost.tokens = reached([](const PlanPoint& p) { return p.tokens; });
  cost.flops = reached([](const PlanPoint& p) { return p.flops; });
  cost.seconds = reached([](const PlanPoint& p) { return p.seconds; });
  cost.at_once = cost.updates && *cost.updates == static_cast<double>(plan_.updates.front());
  return cost;
}

std::vector<PairedDifference> PlanResult::differences() const {
  std::vector<PairedDifference> all;
  const auto find = [&](const std::string& method, int64_t updates, int64_t seed) {
    return std::ranges::find_if(points_, [&](const PlanPoint& point) {
      return point.run.method == method && point.run.updates == updates && point.run.seed == seed &&
             !std::isnan(point.perplexity);
    });
  };
  for (const auto updates : plan_.updates) {
    for (const auto& [method, options] : plan_.methods) {
      if (method == plan_.baseline) continue;
      PairedDifference difference{method, updates, {}};
      for (const auto seed : plan_.seeds) {
        const auto own = find(method, updates, seed), base = find(plan_.baseline, updates, seed);
        if (own != points_.end() && base != points_.end())
          difference.differences.push_back(std::log(own->perplexity / base->perplexity));
      }
      if (!difference.differences.empty()) all.push_back(std::move(difference));
    }
  }
  return all;
}

Table PlanResult::rows_table(bool utf8) const {
  Table table({"method", "updates", "runs", "perplexity", "tokens", "FLOP", "time", "tokens/s",
               "experts/token at end", "max_vio"});
  for (const auto updates : plan_.updates) {
    for (const auto& [method, options] : plan_.methods) {
      std::vector<double> perplexity, tokens, flops, seconds, speed, active, violation;
      for (const auto& point : points_) {
        if (point.run.method != method || point.run.updates != updates) continue;
        perplexity.push_back(point.perplexity);
        tokens.push_back(point.tokens);
        flops.push_back(point.flops);
        seconds.push_back(point.seconds);
        speed.push_back(point.tokens / point.seconds);
        if (point.active_experts) active.push_back(*point.active_experts);
        if (point.max_violation) violation.push_back(*point.max_violation);
      }
      const auto made = fmt::format("{} of {}", perplexity.size(), plan_.seeds.size());
      if (perplexity.empty()) {
        table.add_row({method, std::to_string(updates), made, "-", "-", "-", "-", "-", "-", "-"});
        continue;
      }
      const auto mean = [](const std::vector<double>& values) { return measure(values).mean; };
      table.add_row({method, std::to_string(updates), made,
                     std::isnan(mean(perplexity))
                         ? "diverged"
                         : with_spread(measure(perplexity), utf8, perplexity_text),
                     with_unit(mean(tokens)), with_unit(mean(flops)), duration_text(mean(seconds)),
                     fmt::format("{:.0f}", mean(speed)),
                     active.empty() ? "-" : fmt::format("{:.2f}", mean(active)),
                     violation.empty() ? "-" : fmt::format("{:.2f}", mean(violation))});
    }
  }
  return table;
}

Table PlanResult::reach_table() const {
  Table table({"method", "updates", "tokens", "FLOP", "time", "FLOP of the baseline's",
               "time of the baseline's"});
  const auto of_base = cost_to_reach(plan_.baseline, *target());
  for (const auto& [method, options] : plan_.methods) {
    const auto cost = cost_to_reach(method, *target());
    if (!cost.updates) {
      table.add_row({method, "not reached", "-", "-", "-", "-", "-"});
      continue;
    }
    table.add_row({method, fmt::format("{}{:.0f}", cost.at_once ? "<= " : "", *cost.updates),
                   with_unit(*cost.tokens), with_unit(*cost.flops), duration_text(*cost.seconds),
                   fmt::format("{:.2f}", *cost.flops / *of_base.flops),
                   fmt::format("{:.2f}", *cost.seconds / *of_base.seconds)});
  }
  return table;
}

std::string PlanResult::text(bool utf8) const {
  auto text = rows_table(utf8).text();
  if (const auto goal = target(); goal && plan_.updates.size() > 1) {
    text += fmt::format(
        "\nTo reach {}'s perplexity after {} updates, {}, by runs of several lengths (between them "
        "logarithms are interpolated):\n{}",
        plan_.baseline, plan_.updates.back(), perplexity_text(*goal), reach_table().text());
  }
  text += "\nLower perplexity is better.";
  for (const auto& difference : differences()) text += "\n" + difference.sentence(plan_.baseline);
  for (const auto& outcome : outcomes_) {
    if (!outcome.failure.empty())
      text += fmt::format("\n{} has failed: {}", outcome.run.name(), outcome.failure);
  }
  return text + "\n";
}

ordered_json PlanResult::json() const {
  ordered_json json;
  json["baseline"] = plan_.baseline;
  json["target_perplexity"] = json_of(target());
  json["runs"] = ordered_json::array();
  for (const auto& outcome : outcomes_) {
    ordered_json entry = {
        {"run", outcome.run.name()},
        {"method", outcome.run.method},
        {"updates", outcome.run.updates},
        {"seed", outcome.run.seed},
        {"failure", outcome.failure.empty() ? ordered_json() : ordered_json(outcome.failure)}};
    const auto point = std::ranges::find_if(
        points_, [&](const PlanPoint& p) { return p.run.name() == outcome.run.name(); });
    if (point != points_.end()) {
      entry["perplexity"] =
          std::isnan(point->perplexity) ? ordered_json() : ordered_json(point->perplexity);
      entry["seconds"] = point->seconds;
      entry["tokens"] = point->tokens;
      entry["flops"] = point->flops;
      entry["active_experts"] = json_of(point->active_experts);
      entry["max_vio"] = json_of(point->max_violation);
    }
    json["runs"].push_back(std::move(entry));
  }
  json["to_reach_target"] = ordered_json::object();
  if (const auto goal = target()) {
    for (const auto& [method, options] : plan_.methods) {
      const auto cost = cost_to_reach(method, *goal);
      json["to_reach_target"][method] = {{"updates", json_of(cost.updates)},
                                         {"tokens", json_of(cost.tokens)},
                                         {"flops", json_of(cost.flops)},
                                         {"seconds", json_of(cost.seconds)}};
    }
  }
  json["differences"] = ordered_json::array();
  for (const auto& difference : differences()) {
    json["differences"].push_back({{"method", difference.method},
                                   {"updates", difference.updates},
                                   {"log_perplexity", difference.differences},
                                   {"mean", difference.mean()},
                                   {"t", json_of(difference.t())},
                                   {"critical_t", difference.critical_t()}});
  }
  return json;
}

std::string PlanResult::csv() const {
  std::string csv =
      "run,method,updates,seed,perplexity,seconds,tokens,flops,active_experts,max_vio\n";
  const auto field = [](const std::optional<double>& value) {
    return value && !std::isnan(*value) ? fmt::format("{:.9g}", *value) : std::string();
  };
  for (const auto& point : points_) {
    csv += fmt::format("{},{},{},{},{},{},{},{},{},{}\n", point.run.name(), point.run.method,
                       point.run.updates, point.run.seed, field(point.perplexity),
                       field(point.seconds), field(point.tokens), field(point.flops),
                       field(point.active_experts), field(point.max_violation));
  }
  return csv;
}

}  // namespace evomoe
