#include "evomoe/page/page_run.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "evomoe/base/error.h"
#include "evomoe/report/compared_data.h"
#include "evomoe/report/progress_line.h"
#include "evomoe/report/run_log.h"

namespace evomoe {
namespace {

using nlohmann::ordered_json;
using Join = CurveTable::Join;

constexpr double kAbsent = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kMostThreadChanges = 50;

/// Numbers of a router that the page shows over all layers: the median, and what all but a tenth of
/// the layers at each end are between.
const std::vector<std::string>& router_measures() {
  static const std::vector<std::string> all = {"entropy", "max_vio", "load_cv", "layer_experts",
                                               "dropped_share"};
  return all;
}

std::string log_key(const std::string& measure) {
  return measure == "layer_experts" ? "active_experts" : measure;
}

/// Between the neighbours of a sorted list.
double percentile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const auto above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

std::vector<CurveTable::Column> training_columns() {
  std::vector<CurveTable::Column> columns = {
      {"loss"},          {"loss.low", Join::kLeast}, {"loss.high", Join::kMost},
      {"temperature"},   {"active_experts"},         {"dead_experts"},
      {"ms_per_update"}, {"flops_per_update"},       {"lr"},
      {"gradient_norm"}, {"tokens_per_second"}};
  for (const auto& measure : router_measures()) {
    for (const auto* part : {"", ".low", ".high"}) columns.push_back({measure + part});
  }
  return columns;
}

/// Numbers of a validation that the page can draw, as its log line names them.
const std::vector<std::string>& validation_measures() {
  static const std::vector<std::string> all = {"perplexity", "loss",    "accuracy", "bleu",
                                               "mcc",        "pearson", "spearman"};
  return all;
}

CurveTable validation_table(const PageLimits& limits) {
  std::vector<CurveTable::Column> columns;
  for (const auto& measure : validation_measures()) columns.push_back({measure});
  return {columns, limits.points};
}

std::string short_count(double value) {
  static constexpr std::array<std::pair<double, const char*>, 5> kUnits{
      {{1e15, "P"}, {1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e4, "k"}}};
  for (const auto& [least, name] : kUnits) {
    const double unit = least == 1e4 ? 1e3 : least;
    if (value >= least) return fmt::format("{:.3g} {}", value / unit, name);
  }
  return fmt::format("{:.0f}", value);
}

/// The median, and what a tenth of the values is below, and above; NaN of none.
std::array<double, 3> spread(std::vector<double> values) {
  if (values.empty()) return {kAbsent, kAbsent, kAbsent};
  std::sort(values.begin(), values.end());
  return {percentile(values, .5), percentile(values, .1), percentile(values, .9)};
}

CurveTable similarity_table(const PageLimits& limits) {
  return {{{"similarity"}, {"similarity.low"}, {"similarity.high"}}, limits.points};
}

}  // namespace

PageLimits PageLimits::of_runs(size_t runs) {
  const PageLimits one;
  runs = std::max<size_t>(runs, 1);
  return {std::clamp<size_t>(4000 / runs, 100, one.points), one.load_cells / runs};
}

PageRun::PageRun(const std::string& folder, const PageLimits& limits)
    : limits_(limits),
      history_(find_run(folder)),
      settings_(read_run_settings(history_.folder)),
      tail_(history_.log()),
      training_(training_columns(), limits.points),
      loads_(limits.load_cells),
      similarity_(similarity_table(limits)) {}

void PageRun::clear() {
  points_ = {};
  training_ = {training_columns(), limits_.points};
  validations_.clear();
  stages_.clear();
  loads_ = LoadFrames(limits_.load_cells);
  similarity_ = similarity_table(limits_);
  first_ = last_ = {};
  for (auto* json :
       {&last_routers_, &similarity_lines_, &profile_, &memory_plan_, &memory_peak_, &threads_})
    *json = nullptr;
}

bool PageRun::update() {
  if (!settings_.problem.empty()) settings_ = read_run_settings(history_.folder);
  return tail_.read([this](const auto& line) { take(line); }, [this] { clear(); });
}

void PageRun::take(const ordered_json& line) {
  const auto tag = log_tag(line);
  if (const auto point = points_.read(line)) {
    take_training(*point, line);
  } else if (auto mark = stage_mark(line)) {
    stages_.push_back(std::move(*mark));
  } else if (tag == "profile") {
    profile_ = line;
  } else if (tag == "memory_plan") {
    memory_plan_ = line;
  } else if (tag == "memory_peak") {
    memory_peak_ = line;
  } else if (tag == "expert_similarity") {
    take_similarity(line);
  } else if (tag == "threads") {
    threads_.push_back(line);
    if (threads_.size() > kMostThreadChanges) threads_.erase(0);
  } else if (line.contains(tag + "_elapsed")) {
    take_validation(tag, line);
  }
}

void PageRun::take_training(const TrainingPoint& point, const ordered_json& line) {
  if (training_.rows() == 0) first_ = point;
  last_ = point;
  const auto number = [&](const char* key) { return log_number(line, key).value_or(kAbsent); };
  const double loss = point.loss.value_or(kAbsent);
  std::vector<double> values = {loss,
                                loss,
                                loss,
                                point.temperature.value_or(kAbsent),
                                point.active_experts.value_or(kAbsent),
                                point.dead_experts.value_or(kAbsent),
                                point.ms_per_update.value_or(kAbsent),
                                point.flops_per_update.value_or(kAbsent),
                                number("lr"),
                                number("gnorm"),
                                number("wps")};
  const auto found = line.find("routers");
  const bool routed = found != line.end() && found->is_array();
  for (const auto& measure : router_measures()) {
    std::vector<double> of_layers;
    if (routed) {
      for (const auto& router : *found) {
        if (!router.is_object()) continue;
        if (const auto value = log_number(router, log_key(measure))) of_layers.push_back(*value);
      }
    }
    for (const double value : spread(std::move(of_layers))) values.push_back(value);
  }
  training_.add(point, values);
  if (!routed) return;
  loads_.add(point.updates, *found);
  last_routers_ = *found;
  for (auto& router : last_routers_) {
    if (router.is_object()) router.erase("load");
  }
}

void PageRun::take_similarity(const ordered_json& line) {
  const auto layers = line.find("layers");
  if (layers == line.end() || !layers->is_array()) return;
  std::vector<double> means;
  for (const auto& layer : *layers) {
    if (!layer.is_object()) continue;
    if (const auto mean = log_number(layer, "mean")) means.push_back(*mean);
  }
  RunPlace place = last_;
  place.updates = log_updates(line);
  const auto of_layers = spread(std::move(means));
  similarity_.add(place, {of_layers.begin(), of_layers.end()});
  if (similarity_lines_.size() < 2) {
    similarity_lines_.push_back(line);
  } else {
    similarity_lines_.back() = line;
  }
}

void PageRun::take_validation(const std::string& subset, const ordered_json& line) {
  const auto number = [&](const std::string& key) {
    return log_number(line, subset + "_" + key).value_or(kAbsent);
  };
  ValidationPoint point;
  point.updates = log_updates(line);
  point.seconds = number("elapsed");
  point.flops = number("flops");
  point.tokens = number("train_tokens");
  point.perplexity = number("perplexity");
  auto& of_subset =
      validations_.try_emplace(subset, Validations{validation_table(limits_), {}}).first->second;
  std::vector<double> values;
  for (const auto& measure : validation_measures()) values.push_back(number(measure));
  of_subset.curves.add(point, values);
  if (line.contains(subset + "_perplexity")) of_subset.points.push_back(point);
}

ordered_json PageRun::json() const {
  ordered_json json;
  json["name"] = history_.name;
  json["folder"] = history_.folder.string();
  json["cut"] = cut();
  json["lines_per_point"] = training_.lines_per_row();
  json["training"] = training_.json();
  json["validations"] = ordered_json::object();
  for (const auto& [subset, of_subset] : validations_)
    json["validations"][subset] = of_subset.curves.json();
  json["stages"] = ordered_json::array();
  for (const auto& [update, name] : stages_)
    json["stages"].push_back({{"update", update}, {"name", name}});
  json["loads"] = loads_.json();
  json["similarity"] = similarity_.json();
  json["similarity_lines"] = similarity_lines_;
  json["routers"] = last_routers_;
  json["profile"] = profile_;
  json["memory_plan"] = memory_plan_;
  json["memory_peak"] = memory_peak_;
  json["threads"] = threads_;
  json["settings"] = settings_.value;
  return json;
}

std::vector<std::string> PageRun::subsets() const {
  std::vector<std::string> subsets;
  for (const auto& [subset, of_subset] : validations_) subsets.push_back(subset);
  return subsets;
}

ComparedRun PageRun::compared(const std::string& subset) const {
  ComparedRun run;
  run.history = history_;
  run.data = read_data_record(history_.folder);
  for (size_t row = 0; row < training_.rows(); ++row) {
    const auto value = [&](const char* column) -> std::optional<double> {
      const double number = training_.value(row, column);
      return std::isnan(number) ? std::nullopt : std::optional(number);
    };
    TrainingPoint point;
    static_cast<RunPlace&>(point) = training_.place(row);
    point.active_experts = value("active_experts");
    point.ms_per_update = value("ms_per_update");
    point.flops_per_update = value("flops_per_update");
    run.training.push_back(point);
  }
  if (const auto found = validations_.find(subset); found != validations_.end())
    run.validations = found->second.points;
  return run;
}

std::vector<std::string> PageRun::sentences() const {
  std::vector<std::string> sentences;
  if (!has_points()) {
    sentences.push_back(
        "It has logged nothing yet: a line is written every --log-interval updates.");
  }
  if (training_.rows() > 0) {
    auto text = fmt::format("{} updates", last_.updates);
    if (std::isfinite(last_.tokens)) text += fmt::format(", {} tokens", short_count(last_.tokens));
    if (std::isfinite(last_.flops)) text += fmt::format(", {:.3g} FLOP", last_.flops);
    if (std::isfinite(last_.seconds))
      text += fmt::format(", {} of training", duration_text(last_.seconds));
    sentences.push_back(text + ".");
    if (first_.loss && last_.loss && first_.updates != last_.updates) {
      sentences.push_back(
          fmt::format("The training loss {} from {:.4g} bits (update {}) to {:.4g} (update {}).",
                      *last_.loss < *first_.loss   ? "fell"
                      : *last_.loss > *first_.loss ? "rose"
                                                   : "stayed",
                      *first_.loss, first_.updates, *last_.loss, last_.updates));
    } else if (!last_.loss) {
      sentences.push_back(fmt::format(
          "The training loss of update {} is no number: the run has diverged, or has no target.",
          last_.updates));
    }
  }
  for (const auto& [subset, of_subset] : validations_) {
    if (!of_subset.points.empty())
      sentences.push_back(perplexity_sentence(subset, of_subset.points));
  }
  if (!stages_.empty()) {
    std::string text;
    for (const auto& [update, name] : stages_) {
      text += fmt::format("{}{} from update {}", text.empty() ? "Stages: " : ", ",
                          name.empty() ? "all experts" : name, update);
    }
    sentences.push_back(text + ".");
  }
  if (auto text = router_sentence(); !text.empty()) sentences.push_back(std::move(text));
  if (training_.lines_per_row() > 1) {
    sentences.push_back(
        fmt::format("Its log is long: a point of a training curve is the mean of {} lines.",
                    training_.lines_per_row()));
  }
  if (!settings_.problem.empty())
    sentences.push_back(fmt::format("Its options are not known: {}.", settings_.problem));
  if (cut()) {
    sentences.push_back(
        "The last line of its log is not complete (the run is writing it, or was killed); it is "
        "read up to there.");
  }
  return sentences;
}

std::string PageRun::perplexity_sentence(const std::string& subset,
                                         const std::vector<ValidationPoint>& points) const {
  const auto& last = points.back();
  if (std::isnan(last.perplexity))
    return fmt::format("It has diverged: the perplexity of '{}' at update {} is no number.", subset,
                       last.updates);
  const auto* best = &last;
  for (const auto& point : points) {
    if (point.perplexity < best->perplexity) best = &point;
  }
  auto text = fmt::format("The perplexity of '{}' is {} at update {}", subset,
                          perplexity_text(last.perplexity), last.updates);
  if (best != &last)
    text += fmt::format("; the lowest was {} at update {}", perplexity_text(best->perplexity),
                        best->updates);
  else if (points.size() > 1)
    text += ", its lowest";
  return text + ".";
}

std::string PageRun::router_sentence() const {
  if (!last_routers_.is_array() || !last_.active_experts) return "";
  double dead = 0, worst = -1;
  int64_t layer = 0;
  for (const auto& router : last_routers_) {
    if (!router.is_object()) continue;
    dead += log_number(router, "dead_experts").value_or(0);
    const double violation = log_number(router, "max_vio").value_or(0);
    if (violation <= worst) continue;
    worst = violation;
    layer = static_cast<int64_t>(log_number(router, "layer").value_or(0));
  }
  auto text = fmt::format("At update {} a token uses {:.3g} expert{} a layer", last_.updates,
                          *last_.active_experts, *last_.active_experts == 1 ? "" : "s");
  if (dead > 0)
    text += fmt::format("; {:.0f} expert{} of {} layers got no token", dead, dead == 1 ? "" : "s",
                        last_routers_.size());
  else
    text += ", and every expert got tokens";
  if (worst > 0.005)
    text += fmt::format(
        "; the least even layer is {}, whose busiest expert has {:.3g} times its "
        "equal share",
        layer, worst + 1);
  return text + ".";
}

}  // namespace evomoe
