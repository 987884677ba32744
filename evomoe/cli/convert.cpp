#include "evomoe/cli/convert.h"

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/checkpoint/checkpoint_manager.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/loading/fairseq_export.h"
#include "evomoe/loading/fairseq_import.h"

namespace evomoe {

void ConvertOptions::describe(OptionTable& table) {
  table
      .positional(
          "path", &path,
          "Checkpoint: x.pt, one file of a set (x-shared.pt, x-rank-0.pt, ...; the shards of "
          "fully_sharded training: x-shard0.pt, ... or x-shared-shard0.pt, "
          "x-rank-0-shard0.pt, ...), or one of ours.")
      .metavar("PATH")
      .required();
  table.add("to", &to, "What is made.").choices({"evomoe", "fairseq"});
  table
      .add("output", &output,
           "to evomoe: the run folder; to fairseq: the file, x.pt (a mixture of experts: "
           "x-shared.pt "
           "and x-rank-0.pt).")
      .metavar("PATH")
      .required();
  table.add("data", &data, "to evomoe: its data-bin folder; not given: the one it was trained on.")
      .metavar("DATA");
  table.add("no-save-optimizer-state", &no_save_optimizer_state,
            "Leaves the optimiser's state out; to evomoe: its options and those of the learning "
            "rate too. A run goes on from it with --reset-optimizer.");
  table.example("evomoe convert checkpoints/checkpoint_last.pt --output runs/a --data data-bin",
                "a run of fairseq; `evomoe train --config runs/a/config.yaml` goes on with it");
}

int convert_command(const std::vector<std::string>& arguments) {
  ConvertOptions flags;
  if (!parse_command("convert", arguments, flags)) return 0;
  if (flags.to == "fairseq") {
    for (const auto& file :
         export_fairseq_run(flags.path, flags.output, !flags.no_save_optimizer_state))
      log().info("wrote {}", file.string());
    return 0;
  }
  EVOMOE_CHECK(
      !checkpoint_entry_exists(std::filesystem::path(flags.output) / "checkpoint_last"),
      "--output {}: it holds a run already, which would be overwritten; name another folder",
      flags.output);
  EVOMOE_CHECK(
      !std::filesystem::is_directory(flags.path),
      "{}: is a folder, and a checkpoint of fairseq is a file, x.pt; --to fairseq makes one "
      "of a checkpoint of ours",
      flags.path);
  const bool weights_only = flags.no_save_optimizer_state;
  const auto theirs = read_fairseq_checkpoint(flags.path, !weights_only);
  const auto options = import_fairseq_run(theirs, flags.data, flags.output, weights_only);
  log().info("wrote {} ({} updates, epoch {}); go on with: evomoe train --config {}/config.yaml{}",
             flags.output, theirs.updates, theirs.epoch, options.checkpoint.save_dir,
             weights_only || theirs.optimizer.empty() ? " --reset-optimizer" : "");
  return 0;
}

}  // namespace evomoe
