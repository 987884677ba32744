#pragma once

#include <string>

namespace evomoe {

class OptionTable;

/// `evomoe convert PATH --to evomoe|fairseq --output PATH`.
struct ConvertOptions {
  std::string path;
  std::string to = "evomoe";  ///< evomoe | fairseq
  std::string output;
  std::string data;  ///< data-bin folder; empty: the one that the checkpoint was trained on
  bool no_save_optimizer_state = false;

  void describe(OptionTable& table);
};

}  // namespace evomoe
