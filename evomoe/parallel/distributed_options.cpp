#include "evomoe/parallel/distributed_options.h"

#include "evomoe/config/option_table.h"

namespace evomoe {

void DistributedOptions::describe(OptionTable& table) {
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
      .at_least(0);
  table
      .add("distributed-num-procs", &distributed_num_procs,
           "Processes that this command starts on this machine; not given: one with "
           "--distributed-rank, else all.")
      .at_least(1);
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
      .above(0);
}

}  // namespace evomoe
