#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace evomoe {

class OptionTable;

/// What a run uses of the machine, and what it tells of it.
struct ResourceOptions {
  std::optional<int64_t> profile;              ///< updates
  std::optional<std::string> memory_budget;    ///< bytes, as parse_byte_size() reads them
  std::optional<std::string> offload_moments;  ///< folder

  void describe(OptionTable& table);
};

/// The page of a run in a browser while it goes on (docs/report.md).
struct LiveOptions {
  std::optional<int64_t> live;  ///< port; 0: any free one. Nothing: no page
  std::string live_address = "127.0.0.1";

  void describe(OptionTable& table);
};

/// What every command that computes has.
struct CommonOptions {
  int64_t seed = 1;
  std::string log_format = "simple";              ///< json | simple | tqdm | none
  int64_t log_interval = 100;                     ///< updates
  std::optional<std::string> tensorboard_logdir;  ///< folder
  std::string device = "auto";                    ///< auto | cpu | cuda
  int64_t threads = 0;                            ///< 0: as many as the machine has

  void describe(OptionTable& table);
  /// As describe(), for a command that prints a result and no log of updates.
  void describe_of_result(OptionTable& table);
};

}  // namespace evomoe
