#include "evomoe/report/svg_plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <regex>

namespace evomoe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

/// What is wrong with the file as XML: tags that do not close, markup within texts or values.
std::string fault_of(const std::string& xml) {
  static const std::regex tag(R"(<(/?)([a-z?]+)((?:\s+[a-zA-Z0-9:-]+="[^"<&]*")*)\s*([/?]?)>)");
  static const std::regex text(R"(([^<>&]|&(amp|lt|gt);)*)");
  std::vector<std::string> open;
  size_t at = 0;
  while (at < xml.size()) {
    const auto next = std::min(xml.find('<', at), xml.size());
    const auto between = xml.substr(at, next - at);
    if (!std::regex_match(between, text)) return "text: " + between;
    if (next == xml.size()) break;
    const auto end = xml.find('>', next);
    if (end == std::string::npos) return "open tag";
    const auto found = xml.substr(next, end + 1 - next);
    std::smatch match;
    if (!std::regex_match(found, match, tag)) return "tag: " + found;
    if (match[1] == "/") {
      if (open.empty() || open.back() != match[2]) return "closes nothing: " + found;
      open.pop_back();
    } else if (match[4] == "") {
      open.push_back(match[2]);
    }
    at = end + 1;
  }
  return open.empty() ? "" : "never closed: " + open.back();
}

/// The coordinates of the curves, in the order of the file.
std::vector<std::vector<std::pair<double, double>>> curves_of(const std::string& svg) {
  static const std::regex polyline("<polyline[^>]* points=\"([^\"]*)\"");
  std::vector<std::vector<std::pair<double, double>>> curves;
  for (std::sregex_iterator it(svg.begin(), svg.end(), polyline), end; it != end; ++it) {
    std::istringstream stream((*it)[1]);
    curves.emplace_back();
    double x = 0, y = 0;
    for (char comma; stream >> x >> comma >> y;) curves.back().emplace_back(x, y);
  }
  return curves;
}

PlotPanel panel_of(std::vector<std::pair<double, double>> points) {
  PlotPanel panel;
  panel.title = "loss";
  panel.x_label = "updates";
  panel.curves.push_back({0, std::move(points)});
  return panel;
}

TEST(SvgPlot, IsWellFormedWhateverTheNamesHold) {
  auto panel = panel_of({{0, 1}, {10, 2}});
  panel.title = "<loss> & \"more\"";
  panel.marks.push_back({0, 5, "</svg>"});
  const std::vector<std::string> names = {"a<b>&\"'", std::string("\x01\xff\xc3(", 4), "größe τ",
                                          "\xed\xa0\x80", "\xf4\x90\x80\x80"};
  const auto svg = svg_text({panel, panel, panel}, names);
  EXPECT_EQ(fault_of(svg), "");
  EXPECT_THAT(svg, HasSubstr("a&lt;b&gt;&amp;\"'"));
  EXPECT_THAT(svg, HasSubstr(">\uFFFD\uFFFD\uFFFD(<"));
  EXPECT_THAT(svg, HasSubstr("größe τ"));
  EXPECT_THAT(svg, HasSubstr(">\uFFFD\uFFFD\uFFFD<"));
  EXPECT_THAT(svg, HasSubstr("prefers-color-scheme: dark"));
  EXPECT_NE(fault_of(svg + "<g>"), "") << "the test sees faults";
}

TEST(SvgPlot, HigherValuesLieHigherAndLaterOnesFurtherRight) {
  for (const bool log : {false, true}) {
    auto panel = panel_of({{1, 4}, {10, 2}, {100, 1}});
    panel.log_x = panel.log_y = log;
    const auto curves = curves_of(svg_text({panel}, {"run"}));
    ASSERT_EQ(curves.size(), 1U);
    const auto& curve = curves[0];
    ASSERT_EQ(curve.size(), 3U);
    EXPECT_LT(curve[0].second, curve[1].second);
    EXPECT_LT(curve[1].second, curve[2].second);
    const double middle = (curve[1].first - curve[0].first) / (curve[2].first - curve[0].first);
    EXPECT_NEAR(middle, log ? 0.5 : 9.0 / 99, 1e-3);
  }
}

TEST(SvgPlot, ThePanelsHaveTheXAxisInCommon) {
  const auto curves =
      curves_of(svg_text({panel_of({{0, 1}, {100, 2}}), panel_of({{50, 1}, {60, 900}})}, {"run"}));
  ASSERT_EQ(curves.size(), 2U);
  const double width = curves[0][1].first - curves[0][0].first;
  EXPECT_NEAR(curves[1][1].first - curves[1][0].first, width / 10, 0.2);
  EXPECT_EQ(curves[1][1].second, curves[0][1].second) << "each has its own y axis";
}

TEST(SvgPlot, WhatCannotBeDrawnMakesAGap) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  auto panel =
      panel_of({{0, 1}, {1, 2}, {2, std::nan("")}, {3, 2}, {4, 3}, {5, kInfinity}, {6, 1}});
  auto svg = svg_text({panel}, {"run"});
  EXPECT_EQ(curves_of(svg).size(), 2U);
  EXPECT_THAT(svg, HasSubstr("<circle")) << "a point alone";
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
  panel = panel_of({{0, -1}, {1, 1}, {2, 2}});
  panel.log_y = true;
  EXPECT_EQ(curves_of(svg_text({panel}, {"run"}))[0].size(), 2U);
  for (const double value : {0.0, 5.0, 1e299, -1e-300, 1e17}) {
    svg = svg_text({panel_of({{1, value}, {2, value}})}, {"run"});
    EXPECT_EQ(curves_of(svg).size(), 1U) << value;
    EXPECT_THAT(svg, Not(HasSubstr("nan"))) << value;
  }
  EXPECT_EQ(fault_of(svg_text({}, {})), "");
  EXPECT_EQ(fault_of(svg_text({panel_of({})}, {"run"})), "");
}

TEST(SvgPlot, ManyPointsAreThinnedButKeepTheirExtremes) {
  std::vector<std::pair<double, double>> points;
  for (int i = 0; i < 100000; ++i) points.emplace_back(i, i == 54321 ? 100 : i % 7);
  const auto svg = svg_text({panel_of(points)}, {"run"});
  EXPECT_LT(svg.size(), 60000U);
  const auto curves = curves_of(svg);
  ASSERT_EQ(curves.size(), 1U);
  const auto highest = std::min_element(curves[0].begin(), curves[0].end(),
                                        [](auto& a, auto& b) { return a.second < b.second; });
  const double share = (highest->first - curves[0].front().first) /
                       (curves[0].back().first - curves[0].front().first);
  EXPECT_NEAR(share, 0.54321, 0.01);
}

TEST(AxisTicks, AreRoundAndWithinTheRange) {
  EXPECT_THAT(axis_ticks(0, 1000, 5, false), ElementsAre(0, 200, 400, 600, 800, 1000));
  EXPECT_THAT(axis_ticks(-1, 1, 4, false), ElementsAre(-1, -0.5, 0, 0.5, 1));
  EXPECT_THAT(axis_ticks(1, 1000, 5, true), ElementsAre(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000));
  EXPECT_THAT(axis_ticks(5, 5, 5, false), ElementsAre(5));
  for (const bool log : {false, true}) {
    for (const double least : {1e-9, 0.3, 42.0, 1e17}) {
      for (const double factor : {1 + 1e-12, 1.01, 3.0, 1e9}) {
        const auto ticks = axis_ticks(least, least * factor, 5, log);
        EXPECT_LE(ticks.size(), 20U);
        for (const double tick : ticks) {
          EXPECT_GE(tick, least * (1 - 1e-9));
          EXPECT_LE(tick, least * factor * (1 + 1e-9));
        }
      }
    }
  }
}

}  // namespace
}  // namespace evomoe
