#include "evomoe/cli/convert.h"

#include "evomoe/base/byte_size.h"
#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/checkpoint/checkpoint_manager.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/hub/hub_architecture.h"
#include "evomoe/hub/hub_export.h"
#include "evomoe/hub/hub_import.h"
#include "evomoe/loading/fairseq_export.h"
#include "evomoe/loading/fairseq_import.h"

namespace evomoe {

void ConvertOptions::describe(OptionTable& table) {
  table
      .positional(
          "path", &path,
          "Checkpoint: x.pt, one file of a set (x-shared.pt, x-rank-0.pt, ...; the shards of "
          "fully_sharded training: x-shard0.pt, ... or x-shared-shard0.pt, "
          "x-rank-0-shard0.pt, ...), or one of ours; --from hf: the folder of a model, with "
          "config.json.")
      .metavar("PATH")
      .required();
  table
      .add("from", &from,
           "to evomoe: what it is made of; hf: a model of Hugging Face's transformers.")
      .choices({"fairseq", "hf"});
  table.add("to", &to, "What is made.").choices({"evomoe", "fairseq", "hf"});
  table
      .add("output", &output,
           "to evomoe: the run folder; to hf: the model's folder; to fairseq: the file, x.pt (a "
           "mixture of experts: x-shared.pt and x-rank-0.pt).")
      .metavar("PATH")
      .required();
  table
      .add("data", &data,
           "to evomoe: its data-bin folder; not given: the one it was trained on; --from hf: the "
           "model's tokenizer, or numbers where there is none that can be read.")
      .metavar("DATA");
  table.add("no-save-optimizer-state", &no_save_optimizer_state,
            "Leaves the optimiser's state out; to evomoe: its options and those of the learning "
            "rate too. A run goes on from it with --reset-optimizer.");
  table
      .add("hf-architecture", &hf_architecture,
           "to hf: the architecture that is written; not given: the first one that fits exactly.")
      .choices(hub_architecture_names());
  table.add("dtype", &dtype, "to hf: type of the numbers.")
      .choices({"float32", "float16", "bfloat16"});
  table
      .add("max-shard-size", &max_shard_size,
           "to hf: largest file of weights; a larger model is several and an index.")
      .metavar("SIZE");
  table.example("evomoe convert OLMoE-1B-7B --from hf --output runs/olmoe",
                "a model of transformers as a run folder");
  table.example("evomoe convert runs/a/checkpoint_best --to hf --dtype bfloat16 --output a-hf",
                "a folder for AutoModelForCausalLM.from_pretrained");
  table.example("evomoe convert checkpoints/checkpoint_last.pt --output runs/a --data data-bin",
                "a run of fairseq; `evomoe train --config runs/a/config.yaml` goes on with it");
}

namespace {

/// A flag that the other conversions would pass over in silence.
void check_direction(const ConvertOptions& flags) {
  const ConvertOptions plain;
  if (flags.to != "evomoe" && flags.from != plain.from) {
    fail_usage("--from {} with --to {}: {} is made of a checkpoint of ours; leave --from out",
               flags.from, flags.to, flags.to);
  }
  if (flags.to == "hf") return;
  const auto refuse = [&](const char* flag, const std::string& value,
                          const std::string& otherwise) {
    if (value != otherwise) fail_usage("--{} {} belongs to --to hf; leave it out", flag, value);
  };
  refuse("hf-architecture", flags.hf_architecture, plain.hf_architecture);
  refuse("dtype", flags.dtype, plain.dtype);
  refuse("max-shard-size", flags.max_shard_size, plain.max_shard_size);
}

void check_empty(const std::string& output) {
  EVOMOE_CHECK(
      !checkpoint_entry_exists(std::filesystem::path(output) / "checkpoint_last"),
      "--output {}: it holds a run already, which would be overwritten; name another folder",
      output);
}

void convert_to_hub(const ConvertOptions& flags) {
  HubExportOptions options;
  options.architecture = flags.hf_architecture;
  options.dtype = flags.dtype;
  options.shard_bytes = parse_byte_size(flags.max_shard_size, "--max-shard-size");
  for (const auto& file : export_hub_model(flags.path, flags.output, options))
    log().info("wrote {}", file.string());
}

void convert_from_hub(const ConvertOptions& flags) {
  check_empty(flags.output);
  import_hub_model(flags.path, flags.data, flags.output);
  log().info(
      "wrote {}; train on with: evomoe train DATA --config {}/config.yaml --finetune-from-model "
      "{}/checkpoint_last --save-dir ANOTHER --batch-size N",
      flags.output, flags.output, flags.output);
}

}  // namespace

int convert_command(const std::vector<std::string>& arguments) {
  ConvertOptions flags;
  if (!parse_command("convert", arguments, flags)) return 0;
  check_direction(flags);
  if (flags.to == "hf") {
    convert_to_hub(flags);
    return 0;
  }
  if (flags.from == "hf") {
    convert_from_hub(flags);
    return 0;
  }
  if (flags.to == "fairseq") {
    for (const auto& file :
         export_fairseq_run(flags.path, flags.output, !flags.no_save_optimizer_state))
      log().info("wrote {}", file.string());
    return 0;
  }
  check_empty(flags.output);
  EVOMOE_CHECK(
      !std::filesystem::is_directory(flags.path),
      "{}: is a folder, and a checkpoint of fairseq is a file, x.pt; --to fairseq makes one "
      "of a checkpoint of ours, and --from hf takes the folder of a model of transformers",
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
