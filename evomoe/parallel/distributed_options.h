#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace evomoe {

class OptionTable;

/// The processes of a run, with fairseq's flags.
struct DistributedOptions {
  int64_t distributed_world_size = 1;
  std::optional<int64_t> distributed_rank;
  std::optional<int64_t> distributed_num_procs;
  std::optional<std::string> distributed_init_method;
  int64_t distributed_port = -1;     ///< below 1: 29500
  double distributed_timeout = 600;  ///< seconds

  void describe(OptionTable& table);
};

}  // namespace evomoe
