#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/config/option_table.h"
#include "evomoe/plan/layout.h"
#include "evomoe/train/options.h"

namespace evomoe {

/// `evomoe plan`.
struct PlanOptions {
  TrainOptions train;  ///< the run that is planned
  std::optional<int64_t> vocab_size;
  std::vector<int64_t> ranks;
  std::string machine = "h100_node";
  std::optional<double> active_experts;
  bool print_machine = false, json = false;

  void describe(OptionTable& table);
};

}  // namespace evomoe
