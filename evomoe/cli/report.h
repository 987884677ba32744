#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/train/process_options.h"

namespace evomoe {

class OptionTable;

/// `evomoe report RUN ...`.
struct ReportOptions {
  std::vector<std::string> run;
  std::optional<std::string> output;
  std::string valid_subset = "valid";
  std::string format = "html";    ///< html | json
  std::optional<int64_t> tokens;  ///< how many are routed for the page
  std::string checkpoint = "checkpoint_last";
  LiveOptions live;

  void describe(OptionTable& table);
};

}  // namespace evomoe
