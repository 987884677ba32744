#include "evomoe/report/terminal_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>

namespace evomoe {
namespace {

constexpr size_t kLabel = 7, kColumns = 88;  // together less than 100 columns wide
constexpr int kRows = 6;

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
  for (size_t column = 0; column < kColumns; ++column) {
    const double x = begin + (end - begin) * static_cast<double>(column + 1) / kColumns;
    while (next + 1 < points.size() && points[next + 1].first <= x) ++next;
    values.push_back(points[next].second);
  }
  return values;
}

/// The marks, each under its column, on as many lines as they need not to overlap.
std::vector<std::string> mark_lines(const TerminalChart& chart, double end) {
  std::vector<std::string> lines;
  for (const auto& [x, name] : chart.marks) {
    if (!(x >= 0 && x <= end) || name.empty() || name.size() >= kColumns) continue;
    const double share = end > 0 ? x / end : 0;
    const auto column = static_cast<size_t>(std::min(kColumns - 1.0, share * kColumns));
    const bool fits = column + name.size() < kColumns;
    const auto begin = fits ? column : column - name.size();
    const auto text = fits ? "^" + name : name + "^";
    const auto from = begin > 0 ? begin - 1 : 0;
    const auto line = std::find_if(lines.begin(), lines.end(), [&](const std::string& other) {
      return other.size() <= from || other.find_first_not_of(' ', from) == std::string::npos;
    });
    auto& chosen = line != lines.end() ? *line : lines.emplace_back();
    chosen.resize(std::max(chosen.size(), begin), ' ');
    chosen.replace(begin, text.size(), text);
  }
  return lines;
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
  for (size_t column = 0; column < kColumns; ++column) axis += utf8 ? "─" : "-";
  text += fmt::format("{:>{}} {}{}\n", "0", kLabel, utf8 ? "└" : "+", axis);
  const double end = points.back().first;
  const auto last = fmt::format("{} {}", number_text(end), chart.x_unit);
  const std::string margin(kLabel + 2, ' ');
  text += fmt::format("{}0{:>{}}\n", margin, last, kColumns - 1);
  for (const auto& marks : mark_lines(chart, end)) text += margin + marks + "\n";
  return text;
}

}  // namespace evomoe
