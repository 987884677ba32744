#include "evomoe/parallel/rank_place.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "evomoe/base/error.h"
#include "evomoe/parallel/distributed_options.h"

namespace evomoe {
namespace {

/// The names of the variables of a program that starts processes.
struct StartedBy {
  const char *rank, *size, *local_rank, *local_size;
};

constexpr StartedBy kTorchrun = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"};
constexpr StartedBy kOpenMpi = {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                                "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"};
constexpr StartedBy kMpich = {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"};
constexpr StartedBy kSlurm = {"SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID",
                              "SLURM_NTASKS_PER_NODE"};

/// "True" where torchrun's own process listens at MASTER_ADDR and MASTER_PORT.
constexpr const char* kTorchrunListens = "TORCHELASTIC_USE_AGENT_STORE";
constexpr const char* kTorchrunRestarts = "TORCHELASTIC_RESTART_COUNT";

constexpr const char* kProcessesOfReadme = "DLWS_NUM_GPU_PER_WORKER";

/// The port of Slurm's and MPI's processes where none is given: fairseq's.
constexpr int64_t kDefaultPort = 29500;

std::optional<int64_t> number(const Environment& environment, const char* name) {
  const auto text = environment(name);
  if (!text) return std::nullopt;
  int64_t value = 0;
  const auto [rest, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || rest != text->data() + text->size() || value < 0) {
    fail_usage(
        "the environment has {}={}, which is no number of processes; unset it, or set it "
        "right",
        name, *text);
  }
  return value;
}

/// "node[3-7,9]" or "a,b": the first host of a list of Slurm's.
std::string first_host(const std::string& list) {
  const auto bracket = list.find('['), comma = list.find(',');
  if (bracket == std::string::npos || comma < bracket) return list.substr(0, comma);
  const auto end = list.find_first_of("-,]", bracket + 1);
  return list.substr(0, bracket) + list.substr(bracket + 1, end - bracket - 1);
}

/// "2(x3),1", the processes of each machine of a step of Slurm's: those of machine `node`; nothing
/// where the list does not say it.
std::optional<int64_t> tasks_of_node(const std::string& list, int64_t node) {
  for (size_t at = 0; at < list.size();) {
    const auto comma = std::min(list.find(',', at), list.size());
    const auto entry = list.substr(at, comma - at);
    const auto times = entry.find("(x");
    const auto machines = times == std::string::npos ? 1 : std::atoll(entry.c_str() + times + 2);
    if (node < machines) return std::atoll(entry.c_str());
    node -= machines;
    at = comma + 1;
  }
  return std::nullopt;
}

/// How many processes this machine has, by the variables of `by`.
int64_t local_size_of(const StartedBy& by, const Environment& environment) {
  const auto tasks = environment("SLURM_STEP_TASKS_PER_NODE");
  const auto node = number(environment, "SLURM_NODEID");
  if (by.rank == kSlurm.rank && tasks && node) {
    if (const auto found = tasks_of_node(*tasks, *node); found && *found > 0) return *found;
  }
  return number(environment, by.local_size).value_or(1);
}

/// tcp://HOST:PORT, of the host that the environment names.
std::optional<std::string> address_of(const DistributedOptions& options,
                                      const Environment& environment) {
  if (options.distributed_init_method) return options.distributed_init_method;
  const auto port = options.distributed_port > 0
                        ? options.distributed_port
                        : number(environment, "MASTER_PORT").value_or(kDefaultPort);
  if (const auto host = environment("MASTER_ADDR")) return fmt::format("tcp://{}:{}", *host, port);
  for (const auto* name : {"SLURM_STEP_NODELIST", "SLURM_NODELIST", "SLURM_JOB_NODELIST"}) {
    if (const auto hosts = environment(name))
      return fmt::format("tcp://{}:{}", first_host(*hosts), port);
  }
  return std::nullopt;
}

void check_init_method(const std::string& method) {
  const bool tcp = method.starts_with("tcp://"), file = method.starts_with("file://");
  const auto colon = method.rfind(':');
  int64_t port = 0;
  const char* const end = method.data() + method.size();
  const bool has_port =
      tcp && colon > 6 &&
      std::from_chars(method.data() + colon + 1, end, port) == std::from_chars_result{end, {}} &&
      port >= 1 && port <= 65535;
  if (!(file && method.size() > 7) && !has_port) {
    fail_usage(
        "--distributed-init-method {}: it must be tcp://HOST:PORT (rank 0 listens there) or "
        "file://PATH (a file that all processes see)",
        method);
  }
}

RankPlan placed(RankPlace place, int64_t processes) {
  if (place.rank + processes > place.size) {
    fail_usage(
        "rank {}{} is not one of {} (ranks count from 0): --distributed-world-size, "
        "--distributed-rank and --distributed-num-procs do not fit together",
        place.rank, processes > 1 ? fmt::format(" and the {} after it", processes - 1) : "",
        place.size);
  }
  return {std::move(place), processes};
}

}  // namespace

std::optional<std::string> process_environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return value;
}

RankPlan plan_ranks(const DistributedOptions& options, const Environment& environment) {
  if (const auto method = environment(kInitMethodVariable)) {
    return {{.rank = number(environment, kTorchrun.rank).value_or(0),
             .size = number(environment, kTorchrun.size).value_or(1),
             .local_rank = number(environment, kTorchrun.local_rank).value_or(0),
             .local_size = number(environment, kTorchrun.local_size).value_or(1),
             .init_method = *method}};
  }
  if (options.distributed_init_method) check_init_method(*options.distributed_init_method);
  // fairseq's own configuration says rank 0 where nobody gave one.
  if (options.distributed_rank &&
      (*options.distributed_rank > 0 || options.distributed_init_method)) {
    const auto size = options.distributed_world_size;
    if (size == 1 && *options.distributed_rank == 0) return {};
    if (!options.distributed_init_method) {
      fail_usage(
          "--distributed-rank {} needs --distributed-init-method, tcp://HOST:PORT of rank 0 or "
          "file://PATH, so that the processes find each other",
          *options.distributed_rank);
    }
    // The authors' README gives the first rank of a machine, and says in this variable how many it
    // has.
    const auto processes = options.distributed_num_procs
                               ? *options.distributed_num_procs
                               : number(environment, kProcessesOfReadme).value_or(1);
    return placed({.rank = *options.distributed_rank,
                   .size = size,
                   .local_size = processes,
                   .init_method = *options.distributed_init_method},
                  processes);
  }
  // Only where the user does not ask for processes of his own: a command of one process in a job of
  // Slurm's stays one.
  for (const auto& by : {kTorchrun, kOpenMpi, kMpich, kSlurm}) {
    const auto rank = number(environment, by.rank), size = number(environment, by.size);
    if (!rank || !size || *size <= 1) continue;
    if (options.distributed_world_size > 1 && options.distributed_world_size != *size) {
      fail_usage(
          "--distributed-world-size {}: the environment has {} processes ({}={}); leave the "
          "option out, or start as many",
          options.distributed_world_size, *size, by.size, *size);
    }
    const auto address = address_of(options, environment);
    if (!address) {
      fail_usage(
          "{} processes were started ({}={}), but not where rank 0 listens: give "
          "--distributed-init-method tcp://HOST:PORT",
          *size, by.size, *size);
    }
    check_init_method(*address);
    const bool launcher_listens = by.rank == kTorchrun.rank && !options.distributed_init_method &&
                                  environment(kTorchrunListens) == "True";
    return placed(
        {.rank = *rank,
         .size = *size,
         .local_rank = number(environment, by.local_rank).value_or(0),
         .local_size = local_size_of(by, environment),
         .init_method = *address,
         .launcher_listens = launcher_listens,
         .restarts = launcher_listens ? number(environment, kTorchrunRestarts).value_or(0) : 0},
        options.distributed_num_procs.value_or(1));
  }
  const auto size = options.distributed_world_size;
  if (options.distributed_num_procs && *options.distributed_num_procs != size) {
    fail_usage(
        "--distributed-num-procs {} of --distributed-world-size {}: for the processes of several "
        "machines give --distributed-rank (the first one of this machine) and "
        "--distributed-init-method too",
        *options.distributed_num_procs, size);
  }
  return {{.size = size,
           .local_size = size,
           .init_method = options.distributed_init_method.value_or("")},
          size};
}

}  // namespace evomoe
