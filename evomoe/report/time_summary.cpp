#include "evomoe/report/time_summary.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "evomoe/report/table.h"

namespace evomoe {
namespace {

using Path = std::vector<std::string>;

bool is_layer(const std::string& scope) { return scope.starts_with("layer."); }

bool starts_with(const Path& path, const Path& beginning) {
  return path.size() >= beginning.size() &&
         std::equal(beginning.begin(), beginning.end(), path.begin());
}

void add_once(std::vector<std::string>& names, const std::string& name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

/// The sum of the parts that `belongs` takes; calls only of those that are `outermost`.
template <typename Belongs, typename Outermost>
TimePart sum_of(const TimeSummary& summary, Belongs belongs, Outermost outermost) {
  TimePart sum;
  for (const auto& part : summary.parts) {
    if (!belongs(part.path)) continue;
    sum.ms += part.ms;
    sum.nodes += part.nodes;
    if (outermost(part.path)) sum.calls += part.calls;
  }
  return sum;
}

TimePart sum_of(const TimeSummary& summary, const Path& within) {
  return sum_of(
      summary, [&](const Path& path) { return starts_with(path, within); },
      [&](const Path& path) { return path.size() == within.size(); });
}

TimePart exactly(const TimeSummary& summary, const Path& which) {
  return sum_of(
      summary, [&](const Path& path) { return path == which; }, [](const Path&) { return true; });
}

std::string ms_text(double ms) { return fmt::format("{:.2f}", ms); }

/// A number per update, which is a whole one unless updates differ; nothing for none.
std::string count_text(double count) { return count == 0 ? "" : fmt::format("{:.4g}", count); }

class PartsTable {
 public:
  explicit PartsTable(const TimeSummary& summary)
      : summary_(summary), table_({"part", "ms/update", "share", "calls", "nodes"}) {}

  void add(const std::string& name, const TimePart& part) {
    const double share = summary_.ms > 0 ? 100 * part.ms / summary_.ms : 0;
    table_.add_row({name, ms_text(part.ms), fmt::format("{:.1f}%", share), count_text(part.calls),
                    count_text(part.nodes)});
  }

  /// A part of the update and, indented, what is inside of it; all layers are one line.
  void add_phase(const std::string& phase) {
    add(phase, sum_of(summary_, {phase}));
    std::vector<std::string> inside;
    for (const auto& part : summary_.parts) {
      if (part.path.size() > 1 && part.path[0] == phase)
        add_once(inside, is_layer(part.path[1]) ? "layers" : part.path[1]);
    }
    for (const auto& name : inside) {
      add("  " + name, name == "layers" ? layers_of(phase) : sum_of(summary_, {phase, name}));
    }
    if (!inside.empty()) {
      auto rest = exactly(summary_, {phase});
      rest.calls = 0;
      add("  rest", rest);
    }
  }

  std::string text() const { return table_.text(); }

 private:
  TimePart layers_of(const std::string& phase) const {
    return sum_of(
        summary_,
        [&](const Path& path) { return path.size() > 1 && path[0] == phase && is_layer(path[1]); },
        [](const Path& path) { return path.size() == 2; });
  }

  const TimeSummary& summary_;
  Table table_;
};

std::string parts_text(const TimeSummary& summary) {
  PartsTable table(summary);
  std::vector<std::string> phases;
  for (const auto& part : summary.parts) {
    if (!part.path.empty()) add_once(phases, part.path[0]);
  }
  for (const auto& phase : phases) table.add_phase(phase);
  auto rest = exactly(summary, {});
  rest.calls = 0;
  table.add("rest", rest);
  auto whole = sum_of(summary, {});
  whole.calls = 1;
  table.add("update", whole);
  return table.text();
}

std::string layers_text(const TimeSummary& summary) {
  std::vector<std::string> layers, inside;
  for (const auto& part : summary.parts) {
    if (part.path.size() < 2 || !is_layer(part.path[1])) continue;
    add_once(layers, part.path[1]);
    if (part.path.size() > 2) add_once(inside, part.path[2]);
  }
  if (layers.empty()) return "";
  Path header = {"ms/update", "forward", "backward"};
  header.insert(header.end(), inside.begin(), inside.end());
  header.emplace_back("rest");
  Table table(header);
  const auto add_row = [&](const std::string& name, auto has_layer) {
    const auto ms = [&](auto belongs) {
      return ms_text(sum_of(
                         summary,
                         [&](const Path& path) {
                           return path.size() > 1 && has_layer(path[1]) && belongs(path);
                         },
                         [](const Path&) { return true; })
                         .ms);
    };
    Path row = {name, ms([](const Path& path) { return path[0] == "forward"; }),
                ms([](const Path& path) { return path[0] == "backward"; })};
    for (const auto& part : inside)
      row.push_back(ms([&](const Path& path) { return path.size() > 2 && path[2] == part; }));
    row.push_back(ms([](const Path& path) { return path.size() == 2; }));
    table.add_row(row);
  };
  for (const auto& layer : layers)
    add_row(layer, [&](const std::string& scope) { return scope == layer; });
  add_row("all", [](const std::string& scope) { return is_layer(scope); });
  return table.text();
}

}  // namespace

std::string time_text(const TimeSummary& summary) {
  const auto layers = layers_text(summary);
  return parts_text(summary) + (layers.empty() ? "" : "\n" + layers);
}

nlohmann::ordered_json time_json(const TimeSummary& summary) {
  nlohmann::ordered_json json = {{"updates", summary.updates}, {"ms", summary.ms}};
  auto& parts = json["parts"] = nlohmann::ordered_json::array();
  for (const auto& part : summary.parts) {
    parts.push_back({{"part", fmt::format("{}", fmt::join(part.path, "/"))},
                     {"ms", part.ms},
                     {"calls", part.calls},
                     {"nodes", part.nodes}});
  }
  return json;
}

}  // namespace evomoe
