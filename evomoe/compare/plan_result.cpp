#include "evomoe/compare/plan_result.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>

#include "evomoe/report/comparison.h"
#include "evomoe/report/progress_line.h"

namespace evomoe {
namespace {

using nlohmann::ordered_json;

/// Of Student's distribution, two-sided, 5 %: by degrees of freedom, from 1.
constexpr std::array kCriticalT = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
                                   2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
                                   2.110,  2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
                                   2.060,  2.056, 2.052, 2.048, 2.045, 2.042};
constexpr double kCriticalTOfMany = 1.960;

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

ordered_json json_of(const PlanCost& cost) {
  ordered_json json;
  for (const auto& [name, member] : kPlanMeasures) json[name] = cost.*member;
  return json;
}

ordered_json json_of(const LossCurve& curve) {
  return {{"a", curve.a},         {"b", curve.b},       {"c", json_of(curve.c)},
          {"least", curve.least}, {"most", curve.most}, {"error", curve.error}};
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

std::string PairedDifference::sentence(const std::string& baseline,
                                       const std::string& after) const {
  const auto percent = [](double difference) { return 100 * (std::exp(difference) - 1); };
  const auto better = std::ranges::count_if(differences, [](double value) { return value < 0; });
  const auto [low, high] = std::ranges::minmax(differences);
  auto text = fmt::format(
      "{} after {}: perplexity {:.2f} % {} than {}'s, lower with {} of {} seeds ({:+.2f} to "
      "{:+.2f} %)",
      method, after, std::abs(percent(mean())), mean() < 0 ? "lower" : "higher", baseline, better,
      differences.size(), percent(low), percent(high));
  if (differences.size() < 2) return text + "; with one seed this may be chance.";
  const auto value = t();
  if (!value) return text + ".";
  return text +
         fmt::format("; t = {:.2f} where chance alone stays within {:.2f} in 95 of 100 cases: {}.",
                     *value, critical_t(),
                     std::abs(*value) > critical_t() ? "hardly chance" : "may be chance");
}

PlanResult::PlanResult(const ComparePlan& plan, std::vector<RunOutcome> outcomes,
                       std::vector<MethodSearch> searches)
    : plan_(plan), searches_(std::move(searches)), outcomes_(std::move(outcomes)) {
  for (const auto& outcome : outcomes_) {
    if (outcome.failure.empty()) points_.push_back(read_plan_point(plan, outcome.run));
  }
}

std::optional<double> PlanResult::target() const {
  for (const auto& point : points_) {
    if (point.run.method == plan_.baseline && point.run.length == plan_.lengths.back() &&
        std::isnan(point.perplexity))
      return point.perplexity;
  }
  const auto means = means_of(plan_.baseline);
  if (means.empty() || means.back().length != plan_.lengths.back()) return std::nullopt;
  return means.back().perplexity;
}

std::vector<PlanMean> PlanResult::means_of(const std::string& method) const {
  std::map<double, std::vector<const PlanPoint*>> of_length;
  for (const auto& point : points_) {
    if (point.run.method == method && !std::isnan(point.perplexity))
      of_length[point.run.length].push_back(&point);
  }
  std::vector<PlanMean> means;
  for (const auto& [length, points] : of_length) {
    const auto count = static_cast<double>(points.size());
    auto& mean = means.emplace_back(PlanMean{.length = length});
    for (const auto* point : points) {
      mean.perplexity += point->perplexity / count;
      mean.loss += std::log(point->perplexity) / count;
      for (const auto& [name, member] : kPlanMeasures)
        mean.cost.*member += point->cost.*member / count;
    }
  }
  return means;
}

CostToReach PlanResult::cost_to_reach(const std::string& method, double perplexity) const {
  const auto means = means_of(method);
  CostToReach reached;
  for (const auto& [name, member] : kPlanMeasures) {
    std::vector<std::pair<double, double>> curve;
    for (const auto& mean : means) curve.emplace_back(mean.cost.*member, mean.perplexity);
    const auto found = crossing(curve, perplexity);
    if (!found) return {};
    if (!reached.cost) reached.cost.emplace();
    (*reached.cost).*member = *found;
  }
  reached.at_once = means.front().perplexity <= perplexity;
  return reached;
}

std::array<std::optional<LossCurve>, kPlanMeasures.size()> PlanResult::curves() const {
  const auto means = means_of(plan_.baseline);
  std::array<std::optional<LossCurve>, kPlanMeasures.size()> curves;
  for (size_t i = 0; i < curves.size(); ++i) {
    std::vector<std::pair<double, double>> points;
    for (const auto& mean : means)
      points.emplace_back(mean.cost.*kPlanMeasures[i].second, mean.loss);
    curves[i] = fit_loss_curve(points);
  }
  return curves;
}

std::vector<SpeedUp> PlanResult::speed_ups() const {
  const auto fitted = curves();
  std::vector<SpeedUp> all;
  if (!std::ranges::all_of(fitted, [](const auto& curve) { return curve.has_value(); })) return all;
  for (const auto& [method, options] : plan_.methods) {
    if (method == plan_.baseline) continue;
    for (const auto& mean : means_of(method)) {
      SpeedUp speed_up{.method = method, .mean = mean, .multiples = {}};
      for (size_t i = 0; i < fitted.size(); ++i) {
        const auto needed = fitted[i]->cost(mean.loss);
        auto& multiple = speed_up.multiples[i];
        multiple.extrapolated = !needed || fitted[i]->extrapolates(*needed);
        if (needed) multiple.value = *needed / (mean.cost.*kPlanMeasures[i].second);
      }
      all.push_back(std::move(speed_up));
    }
  }
  return all;
}

std::vector<PairedDifference> PlanResult::differences() const {
  std::vector<PairedDifference> all;
  const auto find = [&](const std::string& method, double length, int64_t seed) {
    return std::ranges::find_if(points_, [&](const PlanPoint& point) {
      return point.run.method == method && point.run.length == length && point.run.seed == seed &&
             !std::isnan(point.perplexity);
    });
  };
  for (const auto length : plan_.lengths) {
    for (const auto& [method, options] : plan_.methods) {
      if (method == plan_.baseline) continue;
      PairedDifference difference{method, length, {}};
      for (const auto seed : plan_.seeds) {
        const auto own = find(method, length, seed), base = find(plan_.baseline, length, seed);
        if (own != points_.end() && base != points_.end())
          difference.differences.push_back(std::log(own->perplexity / base->perplexity));
      }
      if (!difference.differences.empty()) all.push_back(std::move(difference));
    }
  }
  return all;
}

Table PlanResult::rows_table(bool utf8) const {
  Table table({"method", "budget", "runs", "perplexity", "updates", "tokens", "FLOP", "time",
               "tokens/s", "experts/token at end", "max_vio"});
  const auto mean = [](const std::vector<double>& values) { return measure(values).mean; };
  for (const auto length : plan_.lengths) {
    for (const auto& [method, options] : plan_.methods) {
      std::vector<double> perplexity, updates, tokens, flops, seconds, speed, active, violation;
      for (const auto& point : points_) {
        if (point.run.method != method || point.run.length != length) continue;
        perplexity.push_back(point.perplexity);
        updates.push_back(point.cost.updates);
        tokens.push_back(point.cost.tokens);
        flops.push_back(point.cost.flops);
        seconds.push_back(point.cost.seconds);
        speed.push_back(point.cost.tokens / point.cost.seconds);
        if (point.active_experts) active.push_back(*point.active_experts);
        if (point.max_violation) violation.push_back(*point.max_violation);
      }
      const auto budget = plan_.length_text(length);
      const auto made = fmt::format("{} of {}", perplexity.size(), plan_.seeds.size());
      if (perplexity.empty()) {
        table.add_row({method, budget, made, "-", "-", "-", "-", "-", "-", "-", "-"});
        continue;
      }
      table.add_row(
          {method, budget, made,
           std::isnan(mean(perplexity)) ? "diverged"
                                        : with_spread(measure(perplexity), utf8, perplexity_text),
           fmt::format("{:.0f}", mean(updates)), with_unit(mean(tokens)), with_unit(mean(flops)),
           duration_text(mean(seconds)), fmt::format("{:.0f}", mean(speed)),
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
    const auto [cost, at_once] = cost_to_reach(method, *target());
    if (!cost) {
      table.add_row({method, "not reached", "-", "-", "-", "-", "-"});
      continue;
    }
    table.add_row({method, fmt::format("{}{:.0f}", at_once ? "<= " : "", cost->updates),
                   with_unit(cost->tokens), with_unit(cost->flops), duration_text(cost->seconds),
                   fmt::format("{:.2f}", cost->flops / of_base.cost->flops),
                   fmt::format("{:.2f}", cost->seconds / of_base.cost->seconds)});
  }
  return table;
}

std::string PlanResult::speed_up_text() const {
  const auto all = speed_ups();
  if (all.empty()) return "";
  Table table({"method", "budget", "loss", "updates", "tokens", "FLOP", "time"});
  bool extrapolated = false;
  for (const auto& speed_up : all) {
    std::vector<std::string> row = {speed_up.method, plan_.length_text(speed_up.mean.length),
                                    fmt::format("{:.4f}", speed_up.mean.loss)};
    for (const auto& multiple : speed_up.multiples) {
      extrapolated = extrapolated || multiple.extrapolated;
      row.push_back(multiple.value
                        ? fmt::format("{:.2f}{}", *multiple.value, multiple.extrapolated ? "*" : "")
                        : "never*");
    }
    table.add_row(std::move(row));
  }
  const auto curve = *curves()[static_cast<size_t>(plan_.unit)];
  const auto& unit = unit_name(plan_.unit);
  const auto form =
      curve.c ? fmt::format("{:.4g} + {:.4g} C^-{:.3g}", curve.a, curve.b, *curve.c)
              : fmt::format("{:.4g} - {:.4g} ln C, as three lengths are needed for a power law",
                            curve.a, curve.b);
  return fmt::format(
      "\nEffective speed-up: what {0} would need for the same loss (nats of a token) over what the "
      "method took, by a curve through {0}'s lengths (of {1}: loss = {2}; error {3:.2g}):\n{4}{5}",
      plan_.baseline, unit, form, curve.error, table.text(),
      extrapolated ? fmt::format("* beyond {}'s lengths: extrapolated\n", plan_.baseline) : "");
}

std::string PlanResult::search_text() const {
  if (searches_.empty()) return "";
  Table table({"method", "settings", "trials", "updates", "FLOP", "time", "chosen"});
  for (const auto& search : searches_) {
    const auto& settings = plan_.search.at(search.method);
    table.add_row({search.method, std::to_string(settings.size()),
                   std::to_string(search.trials.size()), fmt::format("{:.0f}", search.cost.updates),
                   with_unit(search.cost.flops), duration_text(search.cost.seconds),
                   search.chosen ? settings.at(*search.chosen).words : "none"});
  }
  std::map<size_t, std::vector<std::string>> methods_of_effort;
  for (const auto& [method, options] : plan_.methods) {
    const auto found = plan_.search.find(method);
    methods_of_effort[found == plan_.search.end() ? 1 : found->second.size()].push_back(method);
  }
  std::string effort =
      fmt::format("Every method had {} settings to choose from.", methods_of_effort.begin()->first);
  if (methods_of_effort.size() > 1) {
    std::vector<std::string> parts;
    for (const auto& [settings, methods] : methods_of_effort)
      parts.push_back(fmt::format("{} for {}", settings, fmt::join(methods, ", ")));
    effort = fmt::format(
        "The methods did not have the same effort: settings to choose from were {}. "
        "Part of a difference may be that.",
        fmt::join(parts, "; "));
  }
  std::string failures;
  for (const auto& search : searches_) {
    for (const auto& trial : search.trials) {
      if (!trial.failure.empty()) {
        failures +=
            fmt::format("\n{} with {} has failed: {}", search.method,
                        plan_.search.at(search.method).at(trial.setting).words, trial.failure);
      }
    }
  }
  return fmt::format("Search, by successive halving with the seed {}:\n{}{}{}\n\n", kSearchSeed,
                     table.text(), effort, failures);
}

ordered_json PlanResult::search_json() const {
  auto json = ordered_json::object();
  for (const auto& [method, options] : plan_.methods) {
    const auto found = std::ranges::find(searches_, method, &MethodSearch::method);
    if (found == searches_.end()) {
      json[method] = {{"settings", 1}, {"trials", ordered_json::array()}, {"chosen", nullptr}};
      continue;
    }
    const auto& settings = plan_.search.at(method);
    auto trials = ordered_json::array();
    for (const auto& trial : found->trials) {
      trials.push_back(
          {{"setting", settings.at(trial.setting).words},
           {"length", trial.length},
           {"perplexity", json_of(trial.perplexity)},
           {"failure", trial.failure.empty() ? ordered_json() : ordered_json(trial.failure)}});
    }
    json[method] = {{"settings", settings.size()},
                    {"trials", std::move(trials)},
                    {"cost", json_of(found->cost)},
                    {"chosen", found->chosen ? ordered_json(settings.at(*found->chosen).words)
                                             : ordered_json()}};
  }
  return json;
}

std::string PlanResult::text(bool utf8) const {
  auto text = search_text() + rows_table(utf8).text();
  if (const auto goal = target(); goal && !std::isnan(*goal) && plan_.lengths.size() > 1) {
    text += fmt::format(
        "\nTo reach {}'s perplexity after {}, {}, by runs of several lengths (between them "
        "logarithms are interpolated):\n{}",
        plan_.baseline, plan_.length_text(plan_.lengths.back()), perplexity_text(*goal),
        reach_table().text());
  }
  text += speed_up_text();
  text += "\nLower perplexity is better.";
  for (const auto& difference : differences()) {
    text += "\n" + difference.sentence(plan_.baseline, plan_.length_text(difference.length));
  }
  for (const auto& outcome : outcomes_) {
    if (!outcome.failure.empty())
      text += fmt::format("\n{} has failed: {}", outcome.run.name(), outcome.failure);
  }
  return text + "\n";
}

ordered_json PlanResult::json() const {
  ordered_json json;
  json["baseline"] = plan_.baseline;
  json["unit"] = unit_name(plan_.unit);
  if (!searches_.empty()) json["search"] = search_json();
  json["target_perplexity"] = json_of(target());
  json["runs"] = ordered_json::array();
  for (const auto& outcome : outcomes_) {
    ordered_json entry = {
        {"run", outcome.run.name()},
        {"method", outcome.run.method},
        {"length", outcome.run.length},
        {"seed", outcome.run.seed},
        {"failure", outcome.failure.empty() ? ordered_json() : ordered_json(outcome.failure)}};
    const auto point = std::ranges::find_if(
        points_, [&](const PlanPoint& p) { return p.run.name() == outcome.run.name(); });
    if (point != points_.end()) {
      entry["perplexity"] =
          std::isnan(point->perplexity) ? ordered_json() : ordered_json(point->perplexity);
      entry.update(json_of(point->cost));
      entry["active_experts"] = json_of(point->active_experts);
      entry["max_vio"] = json_of(point->max_violation);
    }
    json["runs"].push_back(std::move(entry));
  }
  json["to_reach_target"] = ordered_json::object();
  if (const auto goal = target()) {
    for (const auto& [method, options] : plan_.methods) {
      const auto reached = cost_to_reach(method, *goal);
      json["to_reach_target"][method] = reached.cost ? json_of(*reached.cost) : ordered_json();
    }
  }
  json["baseline_curves"] = ordered_json::object();
  const auto fitted = curves();
  for (size_t i = 0; i < fitted.size(); ++i) {
    json["baseline_curves"][kPlanMeasures[i].first] =
        fitted[i] ? json_of(*fitted[i]) : ordered_json();
  }
  json["speed_ups"] = ordered_json::array();
  for (const auto& speed_up : speed_ups()) {
    ordered_json entry = {{"method", speed_up.method},
                          {"length", speed_up.mean.length},
                          {"loss", speed_up.mean.loss}};
    for (size_t i = 0; i < fitted.size(); ++i) {
      const auto& multiple = speed_up.multiples[i];
      entry[kPlanMeasures[i].first] = {{"multiple", json_of(multiple.value)},
                                       {"extrapolated", multiple.extrapolated}};
    }
    json["speed_ups"].push_back(std::move(entry));
  }
  json["differences"] = ordered_json::array();
  for (const auto& difference : differences()) {
    json["differences"].push_back({{"method", difference.method},
                                   {"length", difference.length},
                                   {"log_perplexity", difference.differences},
                                   {"mean", difference.mean()},
                                   {"t", json_of(difference.t())},
                                   {"critical_t", difference.critical_t()}});
  }
  return json;
}

std::string PlanResult::csv() const {
  std::string csv = fmt::format(
      "run,method,{}_budget,seed,perplexity,updates,tokens,flops,seconds,"
      "active_experts,max_vio\n",
      unit_name(plan_.unit));
  const auto field = [](const std::optional<double>& value) {
    return value && !std::isnan(*value) ? fmt::format("{:.9g}", *value) : std::string();
  };
  for (const auto& point : points_) {
    csv += fmt::format("{},{},{},{},{},{},{},{},{},{},{}\n", point.run.name(), point.run.method,
                       point.run.length, point.run.seed, field(point.perplexity),
                       field(point.cost.updates), field(point.cost.tokens), field(point.cost.flops),
                       field(point.cost.seconds), field(point.active_experts),
                       field(point.max_violation));
  }
  return csv;
}

}  // namespace evomoe
