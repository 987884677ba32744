#pragma once

#include <chrono>
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
  int64_t expert_parallel_size = 0;  ///< ranks that hold one copy of the experts; 0: by E
  int64_t expert_exchange_parts = 1;
  int64_t max_restarts = 0;
  bool log_all_ranks = false;
  std::string ddp_backend = "pytorch_ddp";
  std::optional<int64_t> zero_stage;  ///< not given: 3 for the back end fully_sharded, else 0
  bool no_reshard_after_forward = false;

  void describe(OptionTable& table);
  /// Of a command that trains nothing: what says which ranks there are and how they meet.
  void describe_of_result(OptionTable& table);
};

/// --distributed-timeout.
std::chrono::milliseconds timeout_of(const DistributedOptions& options);

/// What ranks divide among themselves: 0 nothing, 1 the optimiser's state, 2 gradients as well, 3
/// parameters as well.
int64_t zero_stage(const DistributedOptions& options);

/// How many ranks hold one copy of the E experts together: what --expert-parallel-size says, or the
/// most that divides the number of ranks and is not above E (the reference's groups). 1 for a dense
/// model. UsageError: a size that does not divide the ranks, or is above E.
int64_t expert_parallel_size(const DistributedOptions& options, int64_t num_experts, int64_t ranks);

}  // namespace evomoe
