#pragma once

#include <string>

namespace evomoe {

class OptionTable;

/// `evomoe info CHECKPOINT`.
struct InfoOptions {
  std::string path;
  bool machine = false;
  std::string log_format = "simple";  ///< json | simple

  void describe(OptionTable& table);
};

}  // namespace evomoe
