#pragma once

#include <string>

namespace evomoe {

class OptionTable;

/// `evomoe convert PATH [--from fairseq|hf] [--to evomoe|fairseq|hf] --output PATH`.
struct ConvertOptions {
  std::string path;
  std::string from = "fairseq";  ///< to evomoe: fairseq | hf
  std::string to = "evomoe";     ///< evomoe | fairseq | hf
  std::string output;
  std::string data;  ///< data-bin folder; empty: the one that the checkpoint was trained on
  bool no_save_optimizer_state = false;
  std::string hf_architecture;  ///< to hf; empty: the first that fits
  std::string dtype = "float32";
  std::string max_shard_size = "5G";

  void describe(OptionTable& table);
};

}  // namespace evomoe
