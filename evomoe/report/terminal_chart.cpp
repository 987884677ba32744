#include "evomoe/report/terminal_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

namespace evomoe {
namespace {

constexpr int kLabel = 7, kColumns = 88, kRows = 6;  // together less than 100 columns wide

/// What a bar that fills the given share of a cell looks like.
std::string cell(double filled, bool utf8) {
  static const std::array<const char*, 9> blocks = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  static const std::array<const char*, 4> ascii = {" ", ".", ":", "#"};
  const auto pick = [&](const auto& levels) {
    const auto most = static_cast<double>(levels.size() - 1);
    return levels[static_cast<size_t>(std::lround(std::clamp(filled, 0.0, 1.0) * most))];
  };
  return utf8 ? pick(blocks) : pick(ascii);
}

/// The value of each column: that of the last point up to its end.
std::vector<double> column_values(const std::vector<std::pair<double, double>>& points) {
  const double begin = std::min(0.0, points.front().first), end = points.back().first;
  std::vector<double> values;
  size_t next = 0;
  for (int column = 0; column < kColumns; ++column) {
    const double x = begin + (end - begin) * (column + 1) / kColumns;
    while (next + 1 < points.size() && points[next + 1].first <= x) ++next;
    values.push_back(points[next].second);
  }
  return values;
}

/// The marks, each under its column; one that would overlap the one before is left out.
std::string marks_line(const TerminalChart& chart, double end) {
  std::string line(kColumns, ' ');
  size_t free = 0;
  for (const auto& [x, name] : chart.marks) {
    if (!(x >= 0 && x <= end) || end <= 0) continue;
    const auto column = static_cast<size_t>(std::min(kColumns - 1.0, x / end * kColumns));
    const auto text = "^" + name;
    if (column < free || column + text.size() > line.size()) continue;
    line.replace(column, text.size(), text);
    free = column + text.size() + 1;
  }
  return line.substr(0, line.find_last_not_of(' ') + 1);
}

std::string number_text(double value) {
  return value >= 100 ? fmt::format("{:.0f}", value) : fmt::format("{:.3g}", value);
}

}  // namespace

bool locale_is_utf8() {
  for (const auto* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    std::string locale = value;
    std::transform(locale.begin(), locale.end(), locale.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return locale.find("utf-8") != std::string::npos || locale.find("utf8") != std::string::npos;
  }
  return false;
}

std::string chart_text(const TerminalChart& chart, bool utf8) {
  auto points = chart.points;
  std::erase_if(points, [](const auto& point) {
    return !std::isfinite(point.first) || !std::isfinite(point.second);
  });
  if (points.empty()) return "";
  const auto values = column_values(points);
  double top = *std::max_element(values.begin(), values.end());
  if (!(top > 0)) top = 1;
  std::string text = chart.title + "\n";
  for (int row = kRows - 1; row >= 0; --row) {
    const bool labelled = row == kRows - 1 || row == kRows / 2 - 1;
    text += fmt::format("{:>{}} {}", labelled ? number_text(top * (row + 1) / kRows) : "", kLabel,
                        utf8 ? "┤" : "|");
    std::string bars;
    for (const double value : values) bars += cell(value / top * kRows - row, utf8);
    text += bars.substr(0, bars.find_last_not_of(' ') + 1) + "\n";
  }
  std::string axis;
  for (int column = 0; column < kColumns; ++column) axis += utf8 ? "─" : "-";
  text += fmt::format("{:>{}} {}{}\n", "0", kLabel, utf8 ? "└" : "+", axis);
  const double end = points.back().first;
  const auto last = fmt::format("{} {}", number_text(end), chart.x_unit);
  const std::string margin(kLabel + 2, ' ');
  text += fmt::format("{}0{:>{}}\n", margin, last, kColumns - 1);
  if (const auto marks = marks_line(chart, end); !marks.empty()) text += margin + marks + "\n";
  return text;
}

}  // namespace evomoe
