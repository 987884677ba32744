#include "evomoe/report/svg_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace evomoe {
namespace {

constexpr double kPanelWidth = 480, kPanelHeight = 300, kLegendLine = 20, kLetter = 7;
constexpr double kLeft = 62, kRight = 14, kTop = 34, kBottom = 44;  // margins within a panel
constexpr size_t kColours = 6;

/// Okabe and Ito's colours, which the colour-blind can tell apart; lighter ones on black.
constexpr const char* kStyleSheet = R"(<style>
.page { fill: #ffffff; }
text { font-family: sans-serif; font-size: 12px; fill: #222222; }
.title { font-size: 13px; font-weight: bold; }
.mark { font-size: 10px; }
.frame { fill: none; stroke: #777777; }
.grid { stroke: #dddddd; }
.curve { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.dot { stroke: none; }
.dash { stroke-dasharray: 4 3; }
.c0 { stroke: #0072b2; } .c1 { stroke: #d55e00; } .c2 { stroke: #009e73; }
.c3 { stroke: #cc79a7; } .c4 { stroke: #b07800; } .c5 { stroke: #555555; }
.c0.dot { fill: #0072b2; } .c1.dot { fill: #d55e00; } .c2.dot { fill: #009e73; }
.c3.dot { fill: #cc79a7; } .c4.dot { fill: #b07800; } .c5.dot { fill: #555555; }
@media (prefers-color-scheme: dark) {
.page { fill: #14171a; } text { fill: #dddddd; } .grid { stroke: #333a40; }
.c0 { stroke: #56b4e9; } .c1 { stroke: #ff8a3c; } .c2 { stroke: #2fc99d; }
.c4 { stroke: #e6b84c; } .c5 { stroke: #aaaaaa; }
.c0.dot { fill: #56b4e9; } .c1.dot { fill: #ff8a3c; } .c2.dot { fill: #2fc99d; }
.c4.dot { fill: #e6b84c; } .c5.dot { fill: #aaaaaa; }
}
</style>
)";

/// How many bytes the UTF-8 character at `at` has; 0: it is none, or one that XML forbids.
size_t character_size(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const unsigned first = byte(at);
  if (first < 0x80) return first >= 0x20 || first == '\t' ? 1 : 0;
  const size_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 0;
  if (size == 0 || first > 0xF4) return 0;
  uint32_t code = first & (0xFFU >> (size + 1));
  for (size_t i = 1; i < size; ++i) {
    if ((byte(at + i) & 0xC0U) != 0x80U) return 0;
    code = (code << 6) | (byte(at + i) & 0x3FU);
  }
  constexpr std::array<uint32_t, 5> least = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  return code < least[size] || code > 0x10FFFF || surrogate || (code & 0xFFFE) == 0xFFFE ? 0 : size;
}

std::string xml_escaped(const std::string& text) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const auto size = character_size(text, at);
    const char c = text[at];
    if (size == 0) {
      result += "\xEF\xBF\xBD";  // U+FFFD
    } else if (c == '&') {
      result += "&amp;";
    } else if (c == '<') {
      result += "&lt;";
    } else if (c == '>') {
      result += "&gt;";
    } else {
      result.append(text, at, size);
    }
    at += std::max<size_t>(size, 1);
  }
  return result;
}

/// 1500 -> 1.5k
std::string tick_text(double value) {
  static const std::array<const char*, 7> units = {"", "k", "M", "G", "T", "P", "E"};
  size_t unit = 0;
  double scaled = value;
  while (std::abs(scaled) >= 1000 && unit + 1 < units.size()) {
    scaled /= 1000;
    ++unit;
  }
  return fmt::format("{:.5g}{}", scaled, units[unit]);
}

/// The names of a style's colour, and of its dashes behind the first kColours styles.
std::string style_class(size_t style) {
  return fmt::format("c{}{}", style % kColours, style / kColours % 2 == 1 ? " dash" : "");
}

/// One axis: its range in the data and on the page.
struct Axis {
  bool log_scale = false;
  double least = std::numeric_limits<double>::infinity(), most = -least;
  double from = 0, to = 0;

  /// Not what is no number, nor what is so large that differences are none.
  bool draws(double value) const { return std::abs(value) < 1e300 && (!log_scale || value > 0); }
  void take(double value) {
    if (!draws(value)) return;
    least = std::min(least, value);
    most = std::max(most, value);
  }
  double scaled(double value) const { return log_scale ? std::log10(value) : value; }
  /// Room around a single value, and a little at the ends.
  void settle(double room) {
    if (!(least <= most)) {
      least = log_scale ? 1 : 0;
      most = log_scale ? 10 : 1;
    }
    if (least == most) {
      const double half = std::abs(least) / 10;
      if (log_scale) {
        least /= 1.1;
        most *= 1.1;
      } else {
        least -= half;
        most += most == 0 ? 1 : half;
      }
    }
    const double span = (scaled(most) - scaled(least)) * room;
    least = log_scale ? least / std::pow(10, span) : least - span;
    most = log_scale ? most * std::pow(10, span) : most + span;
  }
  double at(double value) const {
    const double share = (scaled(value) - scaled(least)) / (scaled(most) - scaled(least));
    return from + share * (to - from);
  }
};

/// Fewer points where several lie on one pixel: the lowest and the highest of each stay.
std::vector<std::pair<double, double>> thinned(const std::vector<std::pair<double, double>>& run) {
  std::vector<std::pair<double, double>> kept;
  for (size_t begin = 0; begin < run.size();) {
    size_t end = begin;
    while (end < run.size() && std::abs(run[end].first - run[begin].first) < 0.5) ++end;
    const auto [low, high] =
        std::minmax_element(run.begin() + static_cast<std::ptrdiff_t>(begin),
                            run.begin() + static_cast<std::ptrdiff_t>(end),
                            [](const auto& a, const auto& b) { return a.second < b.second; });
    kept.push_back(*std::min(low, high));
    if (low != high) kept.push_back(*std::max(low, high));
    begin = end;
  }
  return kept;
}

class Panel {
 public:
  /// `all`: the panels that have the x axis with this one in common.
  Panel(const PlotPanel& panel, const std::vector<PlotPanel>& all, double left, double top)
      : panel_(panel), left_(left + kLeft), top_(top + kTop) {
    x_.log_scale = panel.log_x;
    y_.log_scale = panel.log_y;
    for (const auto& other : all) {
      for (const auto& curve : other.curves) {
        for (const auto& [x, y] : curve.points) {
          if (!x_.draws(x) || !y_.draws(y)) continue;
          x_.take(x);
          if (&other == &panel) y_.take(y);
        }
      }
    }
    x_.settle(0);
    y_.settle(0.04);
    right_ = left + kPanelWidth - kRight;
    bottom_ = top + kPanelHeight - kBottom;
    x_.from = left_;
    x_.to = right_;
    y_.from = bottom_;
    y_.to = top_;
  }

  std::string text() const {
    std::string text = fmt::format("<text class=\"title\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
                                   left_, top_ - 14, xml_escaped(panel_.title));
    text += grid();
    for (const auto& mark : panel_.marks) text += mark_text(mark);
    for (const auto& curve : panel_.curves) text += curve_text(curve);
    return text;
  }

 private:
  std::string grid() const {
    std::string text;
    for (const double tick : axis_ticks(x_.least, x_.most, 6, x_.log_scale)) {
      text += line(x_.at(tick), top_, x_.at(tick), bottom_, "grid");
      text += fmt::format("<text text-anchor=\"middle\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
                          x_.at(tick), bottom_ + 16, tick_text(tick));
    }
    for (const double tick : axis_ticks(y_.least, y_.most, 5, y_.log_scale)) {
      text += line(left_, y_.at(tick), right_, y_.at(tick), "grid");
      text += fmt::format("<text text-anchor=\"end\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
                          left_ - 6, y_.at(tick) + 4, tick_text(tick));
    }
    text += fmt::format(
        "<rect class=\"frame\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>\n",
        left_, top_, right_ - left_, bottom_ - top_);
    text += fmt::format("<text text-anchor=\"middle\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
                        (left_ + right_) / 2, bottom_ + 34, xml_escaped(panel_.x_label));
    return text;
  }

  static std::string line(double x1, double y1, double x2, double y2, const std::string& style) {
    return fmt::format(
        "<line class=\"{}\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n", style, x1,
        y1, x2, y2);
  }

  std::string mark_text(const PlotMark& mark) const {
    if (!x_.draws(mark.x) || mark.x < x_.least || mark.x > x_.most) return "";
    const double x = x_.at(mark.x);
    auto text = line(x, top_, x, bottom_, style_class(mark.style) + " dash");
    if (!mark.name.empty()) {
      text += fmt::format(
          "<text class=\"mark\" text-anchor=\"end\" transform=\"translate({:.1f} {:.1f}) "
          "rotate(-90)\">{}</text>\n",
          x + 11, top_ + 4, xml_escaped(mark.name));
    }
    return text;
  }

  std::string curve_text(const PlotCurve& curve) const {
    std::string text;
    std::vector<std::pair<double, double>> run;  // of points without a gap, on the page
    const auto end_run = [&] {
      const auto points = thinned(run);
      if (points.size() == 1) {
        text += fmt::format("<circle class=\"{} dot\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\"/>\n",
                            style_class(curve.style), points.front().first, points.front().second);
      } else if (!points.empty()) {
        text += fmt::format("<polyline class=\"curve {}\" points=\"", style_class(curve.style));
        for (const auto& [x, y] : points) text += fmt::format("{:.1f},{:.1f} ", x, y);
        text.back() = '"';
        text += "/>\n";
      }
      run.clear();
    };
    for (const auto& [x, y] : curve.points) {
      if (x_.draws(x) && y_.draws(y)) {
        run.emplace_back(x_.at(x), y_.at(y));
      } else {
        end_run();
      }
    }
    end_run();
    return text;
  }

  const PlotPanel& panel_;
  double left_, top_, right_ = 0, bottom_ = 0;
  Axis x_, y_;
};

}  // namespace

std::vector<double> axis_ticks(double least, double most, int count, bool log_scale) {
  std::vector<double> ticks;
  if (log_scale) {
    const auto first = static_cast<int>(std::floor(std::log10(least)));
    const auto last = static_cast<int>(std::ceil(std::log10(most)));
    const int stride = std::max(1, (last - first) / count);
    const bool few = last - first <= 3;
    for (int power = first; power <= last; power += stride) {
      for (const double factor : few ? std::vector<double>{1, 2, 5} : std::vector<double>{1}) {
        const double tick = factor * std::pow(10, power);
        if (tick >= least && tick <= most) ticks.push_back(tick);
      }
    }
    // A range within one of these steps is as good as linear.
    if (ticks.size() >= 2) return ticks;
    ticks.clear();
  }
  const double rough = (most - least) / count;
  if (!(rough > 0)) return {least};
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (factor * power >= rough) step = factor * power;
  }
  const double first = std::ceil(least / step);
  for (int i = 0; i <= 2 * count && (first + i) * step <= most + step * 1e-9; ++i)
    ticks.push_back((first + i) * step);
  return ticks;
}

std::string svg_text(const std::vector<PlotPanel>& panels, const std::vector<std::string>& names) {
  const size_t columns = std::min<size_t>(2, std::max<size_t>(1, panels.size()));
  const double width = kPanelWidth * static_cast<double>(columns);
  std::string legend;
  double x = 20, y = 22;
  for (size_t i = 0; i < names.size(); ++i) {
    const double space = 46 + kLetter * static_cast<double>(names[i].size());
    if (x > 20 && x + space > width) {
      x = 20;
      y += kLegendLine;
    }
    legend += fmt::format(
        "<line class=\"curve {0}\" x1=\"{1:.1f}\" y1=\"{2:.1f}\" x2=\"{3:.1f}\" y2=\"{2:.1f}\"/>\n"
        "<text x=\"{4:.1f}\" y=\"{5:.1f}\">{6}</text>\n",
        style_class(i), x, y - 4, x + 22, x + 28, y, xml_escaped(names[i]));
    x += space;
  }
  const double top = y + 8;
  const auto rows = static_cast<double>((panels.size() + columns - 1) / columns);
  const double height = top + rows * kPanelHeight;
  std::string text = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\">\n",
      width, height);
  text += kStyleSheet;
  text += "<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n" + legend;
  for (size_t i = 0; i < panels.size(); ++i) {
    text += Panel(panels[i], panels, kPanelWidth * static_cast<double>(i % columns),
                  top + kPanelHeight * static_cast<double>(i / columns))
                .text();
  }
  return text + "</svg>\n";
}

}  // namespace evomoe
