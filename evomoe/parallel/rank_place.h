#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace evomoe {

struct DistributedOptions;

/// Where a process stands among those of a run, its ranks.
struct RankPlace {
  int64_t rank = 0, size = 1;
  int64_t local_rank = 0, local_size = 1;  ///< among those of this machine
  /// How they find each other: tcp://HOST:PORT, where rank 0 listens, or file://PATH of a file that
  /// all of them see and that does not exist before.
  std::string init_method;
  /// Of torchrun, which itself listens at init_method and keeps what ranks leave there when it
  /// starts them again.
  bool launcher_listens = false;
  int64_t restarts = 0;  ///< how often the launcher has started them again, where it listens
};

/// Set for the processes that this program starts itself: their init_method. Their places are in
/// torchrun's variables.
inline constexpr const char* kInitMethodVariable = "EVOMOE_INIT_METHOD";

/// The value of a variable of the environment; nothing where it is not set.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
std::optional<std::string> process_environment(const std::string& name);

/// The processes of a run that one command stands for.
struct RankPlan {
  RankPlace first;
  int64_t processes = 1;  ///< from `first` on, on this machine; 1: this process is it
};

/// Reads the place of a process in this order: kInitMethodVariable; options; torchrun's RANK,
/// WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT; Open MPI's
/// OMPI_COMM_WORLD_*; MPICH's PMI_*; Slurm's SLURM_*. A world size alone means that many processes
/// on this machine. UsageError for what does not fit together, with the values and the remedy.
RankPlan plan_ranks(const DistributedOptions& options, const Environment& environment);

}  // namespace evomoe
