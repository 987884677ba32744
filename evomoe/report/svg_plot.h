#pragma once

#include <string>
#include <utility>
#include <vector>

namespace evomoe {

/// A curve of a panel. `style`: curves of one style have the same colour and one entry in the
/// legend.
struct PlotCurve {
  size_t style = 0;
  std::vector<std::pair<double, double>> points;  ///< what cannot be drawn makes a gap
};

/// A place on the x axis with a name.
struct PlotMark {
  size_t style = 0;
  double x = 0;
  std::string name;
};

struct PlotPanel {
  std::string title, x_label;
  bool log_x = false, log_y = false;
  std::vector<PlotCurve> curves;
  std::vector<PlotMark> marks;
};

/// The panels side by side, two in a row with the same x axis, under a legend of the styles' names:
/// an SVG file that needs no script and no font, and that is readable on white and, where the
/// viewer says so, on black. Names may be any bytes.
std::string svg_text(const std::vector<PlotPanel>& panels, const std::vector<std::string>& names);

/// About `count` round numbers between the two, which may be equal: the ticks of an axis.
std::vector<double> axis_ticks(double least, double most, int count, bool log_scale);

}  // namespace evomoe
