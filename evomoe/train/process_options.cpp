#include "evomoe/train/process_options.h"

#include "evomoe/config/option_table.h"

namespace evomoe {

namespace {

void describe_device(OptionTable& table, CommonOptions& o) {
  table.add("device", &o.device, "Device; auto: CUDA if there is one.")
      .choices({"auto", "cpu", "cuda"})
      .of_each_rank();
  table.shorthand("cpu", "device", "cpu", "Computes on the CPU.");
  table
      .add("threads", &o.threads,
           "CPU threads of the computation; 0: one for each core, fewer while other programs use "
           "the cores (measured during the run).")
      .range(0, 4096)
      .of_each_rank();
}

}  // namespace

void ResourceOptions::describe(OptionTable& table) {
  table.group("resources", "Time and memory");
  table
      .add("profile", &profile,
           "Measures this number of updates (without a number: 100), after 3 of warm-up: prints "
           "where their time went, and writes profile.json into the run folder, a trace for "
           "Perfetto (docs/profiling.md).")
      .bare("100")
      .at_least(1);
  table
      .add("memory-budget", &memory_budget,
           "Most memory of the process, e.g. 8G: turns on recompute-experts and "
           "checkpoint-activations if needed to stay below it, and refuses a run that does not "
           "fit (docs/profiling.md).")
      .metavar("SIZE");
  table
      .add("offload-moments", &offload_moments,
           "Folder on whose disk the optimiser's moments of 1 MiB and more live instead of in "
           "memory (Adam's are half of a dense run's memory; docs/optimizers.md); "
           "each update reads and writes them all. Checkpoints are then not written in the "
           "background.")
      .metavar("FOLDER");
}

void LiveOptions::describe(OptionTable& table) {
  table.group("live", "Live page");
  table
      .add(
          "live", &live,
          "Serves the page of `evomoe report` on http://127.0.0.1:PORT while this goes on, brought "
          "up to date as the log grows (docs/report.md). Without a number: port 8765; 0: any free "
          "one, which is printed.")
      .metavar("PORT")
      .bare("8765")
      .range(0, 65535);
  table
      .add("live-address", &live_address,
           "Address of this machine, by number, that the page is served on. On another than the "
           "loopback one (0.0.0.0: all) only those who have the printed address with its token can "
           "read it; it is not encrypted.")
      .metavar("ADDRESS");
}

void CommonOptions::describe(OptionTable& table) {
  table.group("common", "Process");
  table.add("seed", &seed, "Seed of every random number.").at_least(0);
  table.add("log-format", &log_format, "Form of the log on stdout.")
      .choices({"json", "simple", "tqdm", "none"});
  table.add("log-interval", &log_interval, "Updates between log lines.").at_least(1);
  table
      .add("tensorboard-logdir", &tensorboard_logdir,
           "Folder for TensorBoard's event files: the numbers of the log, the load of each layer's "
           "experts as histogram and heat map, and the configuration (docs/tensorboard.md).")
      .metavar("FOLDER");
  describe_device(table, *this);
}

void CommonOptions::describe_of_result(OptionTable& table) {
  table.group("common", "Process");
  table.add("log-format", &log_format, "Form of the result on stdout.").choices({"json", "simple"});
  describe_device(table, *this);
}

}  // namespace evomoe
