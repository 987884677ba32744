#pragma once

#include <string>
#include <utility>
#include <vector>

namespace evomoe {

/// Whether the locale of the environment (LC_ALL, LC_CTYPE, LANG) is one of UTF-8.
bool locale_is_utf8();

/// A curve for the terminal, as bars from 0 upwards.
struct TerminalChart {
  std::string title;
  std::vector<std::pair<double, double>> points;  ///< x ascending; what is not finite is left out
  std::vector<std::pair<double, std::string>> marks;  ///< names of places on the x axis
  std::string x_unit;                                 ///< "updates"
};

/// At most 100 columns wide: the title, bars of blocks (or, without UTF-8, of ASCII characters),
/// the x axis and under it its marks. Empty when there are no points.
std::string chart_text(const TerminalChart& chart, bool utf8);

}  // namespace evomoe
