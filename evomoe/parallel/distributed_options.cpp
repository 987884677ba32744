#include "evomoe/parallel/distributed_options.h"

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"

namespace evomoe {

void DistributedOptions::describe_of_result(OptionTable& table) {
  table.group("distributed_training", "Several processes");
  table
      .add("distributed-world-size", &distributed_world_size,
           "Processes of the run, its ranks (docs/parallel.md). Alone, it starts so many on this "
           "machine. torchrun, Open MPI, MPICH and Slurm say it in the environment.")
      .at_least(1);
  table
      .add("distributed-rank", &distributed_rank,
           "This process's number, from 0, of ranks that are started by hand; with "
           "--distributed-num-procs the first one of this machine.")
      .at_least(0)
      .of_each_rank();
  table
      .add("distributed-num-procs", &distributed_num_procs,
           "Processes that this command starts on this machine; not given: one with "
           "--distributed-rank, else all.")
      .at_least(1)
      .of_each_rank();
  table
      .add("distributed-init-method", &distributed_init_method,
           "How ranks find each other: tcp://HOST:PORT, where rank 0 listens, or file://PATH of a "
           "new file that all of them see.")
      .metavar("URL");
  table
      .add("distributed-port", &distributed_port,
           "Port of rank 0 where --distributed-init-method does not say it; -1: MASTER_PORT, else "
           "29500.")
      .range(-1, 65535);
  table
      .add("distributed-timeout", &distributed_timeout,
           "Seconds that a rank waits for the others before the run fails.")
      .above(0)
      .of_each_rank();
}

void DistributedOptions::describe(OptionTable& table) {
  describe_of_result(table);
  table
      .add("expert-parallel-size", &expert_parallel_size,
           "Ranks that share the experts: each holds some of them, and tokens travel to their "
           "experts. 1: each rank holds all experts; 0: as many ranks as there can be, with at "
           "least one expert each.")
      .at_least(0);
  table
      .add("expert-exchange-parts", &expert_exchange_parts,
           "Parts of a micro-batch's tokens that travel to the experts of other ranks one after "
           "the other: while the experts compute one, the next is on its way. 1: all at once.")
      .range(1, 64);
  table
      .add("max-restarts", &max_restarts,
           "How often the processes that this command starts are started again, from the last "
           "checkpoint, after one of them was killed or hung. Not after an error of the run "
           "itself, which would come again.")
      .range(0, 1000000)
      .of_each_rank();
  table
      .add("log-all-ranks", &log_all_ranks,
           "Every rank N above 0 writes its own log.rank-N.jsonl beside log.jsonl of rank 0.")
      .of_each_rank();
  table
      .add("ddp-backend", &ddp_backend,
           "How ranks share the work: each has its batches and the whole model, or with "
           "fully_sharded its part of it (--zero-stage 3).")
      .choices({"pytorch_ddp", "c10d", "legacy_ddp", "no_c10d", "fully_sharded"});
  table
      .add("zero-stage", &zero_stage,
           "What ranks divide among themselves instead of each having it whole: 0 nothing, 1 the "
           "optimizer's state, 2 gradients as well, 3 parameters as well (docs/parallel.md). Not "
           "given: 3 with --ddp-backend fully_sharded, else 0.")
      .range(0, 3);
  table.add("no-reshard-after-forward", &no_reshard_after_forward,
            "With --zero-stage 3: each layer stays whole from the forward to the backward pass, "
            "instead of being gathered twice.");
}

std::chrono::milliseconds timeout_of(const DistributedOptions& options) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::duration<double>(options.distributed_timeout));
}

int64_t zero_stage(const DistributedOptions& options) {
  return options.zero_stage.value_or(options.ddp_backend == "fully_sharded" ? 3 : 0);
}

int64_t expert_parallel_size(const DistributedOptions& options, int64_t num_experts,
                             int64_t ranks) {
  const auto given = options.expert_parallel_size;
  if (given == 0) {
    auto size = std::clamp<int64_t>(num_experts, 1, ranks);
    while (ranks % size != 0) --size;
    return size;
  }
  if (ranks % given != 0) {
    fail_usage(
        "--expert-parallel-size {} does not divide the {} ranks of the run; give a divisor of "
        "--distributed-world-size",
        given, ranks);
  }
  if (given > std::max<int64_t>(num_experts, 1)) {
    fail_usage(
        "--expert-parallel-size {}: the model has {} experts (--moe-expert-count), and each of "
        "these ranks needs one at least",
        given, num_experts);
  }
  return given;
}

}  // namespace evomoe
