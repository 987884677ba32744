#include "evomoe/cli/plot.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <ostream>

#include "evomoe/base/error.h"
#include "evomoe/base/write_file.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/report/run_history.h"
#include "evomoe/report/svg_plot.h"

namespace evomoe {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

/// A quantity of training that can be drawn.
struct Quantity {
  std::string name, title;
  std::optional<double> TrainingPoint::*value;
};

const std::vector<Quantity>& quantities() {
  static const std::vector<Quantity> all = {
      {"loss", "training loss (bits, without the gate's)", &TrainingPoint::loss},
      {"temperature", "temperature of the gate", &TrainingPoint::temperature},
      {"experts", "experts per token", &TrainingPoint::active_experts},
      {"max_vio", "max_vio: largest load of an expert / mean - 1", &TrainingPoint::max_violation},
      {"dead_experts", "experts without a token, all layers", &TrainingPoint::dead_experts},
      {"time", "milliseconds per update", &TrainingPoint::ms_per_update},
  };
  return all;
}

double place_on(const std::string& axis, const RunPlace& place) {
  if (axis == "tokens") return place.tokens;
  if (axis == "flops") return place.flops;
  if (axis == "seconds") return place.seconds;
  return static_cast<double>(place.updates);
}

std::string axis_title(const std::string& axis) {
  if (axis == "tokens") return "training tokens";
  if (axis == "flops") return "training compute (FLOP)";
  if (axis == "seconds") return "training time (seconds)";
  return "updates";
}

/// Where an update lies on the axis, between the lines of the log around it.
double place_of_update(const std::vector<TrainingPoint>& points, const std::string& axis,
                       int64_t update) {
  if (axis == "updates") return static_cast<double>(update);
  RunPlace before;
  for (const auto& point : points) {
    if (point.updates >= update) {
      const double share =
          static_cast<double>(update - before.updates) /
          static_cast<double>(std::max<int64_t>(point.updates - before.updates, 1));
      const double from = place_on(axis, before);
      return from + share * (place_on(axis, point) - from);
    }
    before = point;
  }
  return kUnknown;
}

class Plot {
 public:
  Plot(const PlotOptions& flags, const std::vector<RunHistory>& runs) : flags_(flags), runs_(runs) {
    for (const auto& run : runs) training_.push_back(training_points(run));
  }

  /// The panels asked for, or all that have a curve that is not 0 throughout.
  std::vector<PlotPanel> panels() const {
    auto names = flags_.curves;
    const bool all = names.empty();
    if (all)
      names = {"loss", "perplexity", "temperature", "experts", "max_vio", "dead_experts", "time"};
    std::vector<PlotPanel> panels;
    for (const auto& name : names) {
      auto panel = name == "perplexity" ? perplexity_panel(/*required=*/!all) : panel_of(name);
      const bool zero = std::all_of(panel.curves.begin(), panel.curves.end(), is_zero);
      if (all && zero) continue;
      if (panel.curves.empty()) {
        fail("--curves {}: the log of no run given has it{}", name, remedy(name));
      }
      panels.push_back(std::move(panel));
    }
    if (panels.empty()) {
      fail(
          "{}: there is nothing to draw yet: the log holds no line of training or validation (one "
          "is written every --log-interval updates)",
          fmt::join(flags_.run, ", "));
    }
    return panels;
  }

 private:
  static bool is_zero(const PlotCurve& curve) {
    return std::all_of(curve.points.begin(), curve.points.end(),
                       [](const auto& point) { return !(std::abs(point.second) > 0); });
  }

  static std::string remedy(const std::string& name) {
    if (name == "loss" || name == "time") return "; a line is written every --log-interval updates";
    if (name == "temperature") return "; a dense-to-sparse gate has one (--use-gumbel-softmax)";
    if (name == "max_vio") return "; models with experts have it, in logs of this version";
    return "; models with experts have it";
  }

  PlotPanel empty_panel(const std::string& title) const {
    PlotPanel panel;
    panel.title = title;
    panel.x_label = axis_title(flags_.x_axis);
    panel.log_x = flags_.log_x;
    panel.log_y = flags_.log_y;
    for (size_t i = 0; i < runs_.size(); ++i) {
      for (const auto& mark : stage_marks(runs_[i])) {
        const double x = place_of_update(training_[i], flags_.x_axis, mark.update);
        const bool named = std::none_of(panel.marks.begin(), panel.marks.end(), [&](auto& other) {
          return other.name == mark.name && other.style != i;
        });
        panel.marks.push_back({i, x, named ? mark.name : ""});
      }
    }
    return panel;
  }

  /// Keeps a curve that has something to draw.
  void add_curve(PlotPanel& panel, PlotCurve curve) const {
    const auto draws = [&](const std::pair<double, double>& point) {
      return std::isfinite(point.first) && std::isfinite(point.second) &&
             (!panel.log_x || point.first > 0) && (!panel.log_y || point.second > 0);
    };
    if (std::any_of(curve.points.begin(), curve.points.end(), draws))
      panel.curves.push_back(std::move(curve));
  }

  PlotPanel panel_of(const std::string& name) const {
    const auto quantity = std::find_if(quantities().begin(), quantities().end(),
                                       [&](const Quantity& known) { return known.name == name; });
    auto panel = empty_panel(quantity->title);
    for (size_t i = 0; i < runs_.size(); ++i) {
      PlotCurve curve{i, {}};
      for (const auto& point : training_[i])
        curve.points.emplace_back(place_on(flags_.x_axis, point),
                                  (point.*(quantity->value)).value_or(kUnknown));
      add_curve(panel, std::move(curve));
    }
    return panel;
  }

  /// `required`: a run without such validations is an Error.
  PlotPanel perplexity_panel(bool required) const {
    auto panel = empty_panel(fmt::format("perplexity of '{}'", flags_.valid_subset));
    for (size_t i = 0; i < runs_.size(); ++i) {
      const auto subsets = validated_subsets(runs_[i]);
      if (!required &&
          std::find(subsets.begin(), subsets.end(), flags_.valid_subset) == subsets.end())
        continue;
      PlotCurve curve{i, {}};
      for (const auto& point : validation_points(runs_[i], flags_.valid_subset))
        curve.points.emplace_back(place_on(flags_.x_axis, point), point.perplexity);
      add_curve(panel, std::move(curve));
    }
    return panel;
  }

  const PlotOptions& flags_;
  const std::vector<RunHistory>& runs_;
  std::vector<std::vector<TrainingPoint>> training_;
};

}  // namespace

void PlotOptions::describe(OptionTable& table) {
  table.positional("run", &run, "Run folders, also of runs that are still going on.")
      .metavar("RUN...")
      .required();
  table.add("output", &output, "The picture to write, an .svg file.")
      .alias("o")
      .metavar("FILE.svg")
      .required();
  table
      .add("x-axis", &x_axis,
           "What the curves are drawn against; seconds and FLOP are those of training.")
      .choices({"updates", "tokens", "flops", "seconds"});
  table
      .add("curves", &curves,
           "What is drawn, one panel each; not given: all that the runs have. time: milliseconds "
           "per update; max_vio: largest load of an expert / mean - 1, of the worst layer.")
      .choices({"loss", "perplexity", "temperature", "experts", "max_vio", "dead_experts", "time"});
  table.add("log-x", &log_x, "Logarithmic x axes.");
  table.add("log-y", &log_y, "Logarithmic y axes.");
  table.add("valid-subset", &valid_subset, "Split whose perplexity is drawn.").metavar("NAME");
  table.example("evomoe plot runs/evomoe runs/switch -o loss.svg --curves loss,experts,time",
                "two runs, three panels");
  table.example(
      "evomoe plot runs/*/ -o perplexity.svg --curves perplexity --x-axis seconds --log-y",
      "perplexity against training time");
}

int plot_command(const std::vector<std::string>& arguments) {
  PlotOptions flags;
  if (!parse_command("plot", arguments, flags)) return 0;
  const std::filesystem::path output = flags.output;
  if (output.extension() != ".svg") {
    fail_usage(
        "--output {}: the picture is an SVG file, so the name must end in .svg "
        "(`rsvg-convert x.svg -o x.png` makes a PNG of it)",
        flags.output);
  }
  const auto runs = read_run_histories(flags.run, "evomoe plot");
  std::vector<std::string> names;
  for (const auto& run : runs) names.push_back(run.name);
  const auto text = svg_text(Plot(flags, runs).panels(), names);
  write_file(output, [&](std::ostream& stream) { stream << text; });
  log().info("{}: {}", flags.output, fmt::join(names, ", "));
  return 0;
}

}  // namespace evomoe
