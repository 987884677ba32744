#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace evomoe {

class OptionTable;

/// `evomoe compare RUN RUN ...`, or `evomoe compare PLAN.yaml`, which makes the runs first.
struct CompareOptions {
  std::vector<std::string> run;
  std::string
      baseline;  ///< the run whose final perplexity the others are timed to reach; empty: the first
  std::string valid_subset = "valid";
  bool group = false;           ///< seeds of one run are one row
  std::string format = "text";  ///< text | markdown | json | csv
  int64_t jobs = 1;             ///< runs of a plan at once
  bool search = false;          ///< chooses the settings of a plan's methods first

  void describe(OptionTable& table);
};

}  // namespace evomoe
