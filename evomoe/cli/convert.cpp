#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/checkpoint/checkpoint_manager.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/loading/fairseq_export.h"
#include "evomoe/loading/fairseq_import.h"

namespace evomoe {

int convert_command(const std::vector<std::string>& arguments) {
  ConvertOptions flags;
  const auto bind = [](OptionTable& table, ConvertOptions& o) { describe(table, o); };
  if (!parse_command("convert", arguments, flags, bind)) return 0;
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
