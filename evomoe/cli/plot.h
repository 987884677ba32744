#pragma once

#include <string>
#include <vector>

namespace evomoe {

class OptionTable;

/// `evomoe plot RUN ... --output FILE`.
struct PlotOptions {
  std::vector<std::string> run;
  std::string output;
  std::string x_axis = "updates";   ///< updates | tokens | flops | seconds
  std::vector<std::string> curves;  ///< empty: all that the runs have
  bool log_x = false, log_y = false;
  std::string valid_subset = "valid";

  void describe(OptionTable& table);
};

}  // namespace evomoe
