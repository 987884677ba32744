#include "evomoe/cli/info.h"

#include <ATen/Version.h>
#include <fmt/ranges.h>
#include <torch/version.h>

#include <cmath>
#include <fstream>
#include <map>

#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"
#include "evomoe/checkpoint/checkpoint.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/kernels/cpu/vectorize.h"
#include "evomoe/loading/fairseq_import.h"
#include "evomoe/loading/run_folder.h"
#include "evomoe/loading/stored_state.h"
#include "evomoe/report/run_log.h"
#include "evomoe/report/table.h"
#include "evomoe/runtime/mkl_dispatch.h"
#include "evomoe/text/unicode.h"
#include "evomoe/train/model_family.h"
#include "evomoe/train/settings.h"

namespace evomoe {
namespace {

struct ParameterCount {
  int64_t total = 0, experts = 0, active = 0;
};

using Shapes = std::map<std::string, std::vector<int64_t>>;

Shapes shapes_of(const FairseqCheckpoint& theirs) {
  Shapes shapes;
  for (const auto& [name, tensor] : theirs.model) shapes[name] = tensor.sizes().vec();
  return shapes;
}

/// Parameters by the checkpoint's own tensors; active: with one expert per token in each MoE layer.
ParameterCount count_parameters(const Shapes& shapes) {
  ParameterCount count;
  for (const auto& [name, shape] : shapes) {
    int64_t elements = 1;
    for (const auto size : shape) elements *= size;
    const bool expert = name.find(".experts.") != std::string::npos;
    count.total += elements;
    count.experts += expert ? elements : 0;
    count.active += expert && !shape.empty() && shape[0] > 0 ? elements / shape[0] : elements;
  }
  return count;
}

/// By the rows of the embeddings: a file of fairseq does not say it otherwise.
Vocabulary vocabulary_of(const Shapes& shapes) {
  const auto rows = [&](const std::string& half) {
    int64_t sum = 0;
    for (const auto& [name, shape] : shapes) {
      const bool adaptive = name.find("embed_tokens.embeddings.") != std::string::npos;
      if (name.starts_with(half) && name.ends_with(adaptive ? ".0.weight" : "embed_tokens.weight"))
        sum += shape.at(0);
    }
    return sum;
  };
  const auto encoder = rows("encoder."), decoder = rows("decoder.");
  return {encoder > 0 ? encoder : decoder, decoder > 0 ? decoder : encoder};
}

/// The last router metrics logged at or before the checkpoint.
nlohmann::ordered_json last_routers(const std::filesystem::path& run_folder, int64_t updates) {
  nlohmann::ordered_json routers;
  const auto path = run_folder / "log.jsonl";
  if (!std::filesystem::exists(path)) return routers;
  for (const auto& line : read_run_log(path)) {
    if (line.value("tag", "") == "train_inner" && line.contains("routers") &&
        line.value("completed_updates", int64_t{0}) <= updates) {
      routers = line["routers"];
    }
  }
  return routers;
}

void print_info(const InfoOptions& flags, const RunState& state, const Vocabulary& vocabulary,
                const ParameterCount& count) {
  const auto options = stored_model_options(state);
  const auto stacks = stack_options(options, vocabulary, state.evolution.shared_expert);
  const auto routers = last_routers(run_folder_of(flags.path), state.updates);

  if (flags.log_format == "json") {
    nlohmann::ordered_json out;
    out["path"] = flags.path;
    out["updates"] = state.updates;
    out["evolution"] = nlohmann::json(state.evolution);
    out["parameters"] = {
        {"total", count.total}, {"experts", count.experts}, {"active", count.active}};
    out["checkpoint"] = state.saved ? nlohmann::json(*state.saved) : nlohmann::json();
    out["routers"] = routers;
    out["config"] = state.config;
    fmt::print("{}\n", json_text(out, 2));
    return;
  }
  fmt::print("{}\n\n", flags.path);
  Table facts({"", "value"});
  facts.add_row({"task", options.task.task});
  for (const auto& stack : stacks) {
    const auto name = options.model.arch + (stacks.size() > 1 ? ", " + stack.half : "");
    facts.add_row(
        {"architecture", fmt::format("{}: {} layers, d {}, ffn {}, {} heads", name, stack.layers,
                                     stack.embed_dim, stack.ffn_dim, stack.heads)});
    if (const auto form = beyond_reference(stack); !form.empty())
      facts.add_row({stack.half, fmt::format("{}", fmt::join(form, " "))});
  }
  facts.add_row(
      {"vocabulary", vocabulary.source == vocabulary.target
                         ? std::to_string(vocabulary.target)
                         : fmt::format("{} to {}", vocabulary.source, vocabulary.target)});
  facts.add_row(
      {"parameters", fmt::format("{} ({} of experts); {} active with one expert per token",
                                 count.total, count.experts, count.active)});
  facts.add_row({"updates", fmt::format("{}", state.updates)});
  if (has_experts(options)) {
    for (const auto& stack : stacks) {
      if (stack.moe_freq == 0) continue;
      const auto where =
          stack.moe_freq == 1 ? "every layer" : fmt::format("one of {} layers", stack.moe_freq);
      const auto half = stacks.size() > 1 ? " of the " + stack.half : "";
      facts.add_row({"experts", fmt::format("{} in {}{}, router {}", stack.moe.router.num_experts,
                                            where, half, stack.moe.router.method)});
      if (stack.expert_dim() != stack.ffn_dim)
        facts.add_row({"ffn of an expert", fmt::format("{}{}", stack.expert_dim(), half)});
      if (stack.shared_expert_dim > 0)
        facts.add_row(
            {"ffn of the shared expert", fmt::format("{}{}", stack.shared_expert_dim, half)});
    }
    const auto& evolution = state.evolution;
    if (!evolution.stage.empty() && evolution.stage != "constant")
      facts.add_row({"stage", evolution.stage});
    if (evolution.temperature > 0)
      facts.add_row({"temperature", fmt::format("{:.4g}", evolution.temperature)});
  }
  if (state.saved && state.saved->best) {
    facts.add_row({"best " + options.checkpoint.best_checkpoint_metric,
                   fmt::format("{:.3f}", *state.saved->best)});
  }
  fmt::print("{}", facts.text());
  if (!routers.empty()) {
    Table table({"layer", "active experts", "load min", "load max", "load cv", "max_vio", "dead",
                 "entropy", "dropped", "unrouted"});
    for (const auto& router : routers) {
      const auto number = [&](const char* key) { return router.value(key, std::nan("")); };
      table.add_row(
          {fmt::format("{}", router.value("layer", 0)),
           fmt::format("{:.2f}", number("active_experts")),
           fmt::format("{:.0f}", number("load_min")), fmt::format("{:.0f}", number("load_max")),
           fmt::format("{:.2f}", number("load_cv")), fmt::format("{:.2f}", number("max_vio")),
           fmt::format("{:.0f}", number("dead_experts")), fmt::format("{:.3f}", number("entropy")),
           fmt::format("{:.1f} %", 100 * number("dropped_share")),
           fmt::format("{:.1f} %", 100 * number("unrouted_share"))});
    }
    fmt::print("\nrouters at the last log line before this checkpoint (loads per update):\n{}",
               table.text());
  }
  fmt::print("\nAll options: evomoe info {} --log-format json\n", flags.path);
}

void print_info_of_fairseq(const InfoOptions& flags) {
  const auto theirs = read_fairseq_checkpoint(flags.path, /*with_optimizer=*/false);
  // Nothing of the data is needed to tell of the rest.
  const auto options = options_of_fairseq(theirs, /*data=*/".", /*weights_only=*/true);
  const auto ours =
      checkpoint_of_fairseq(theirs, options, Dictionary(), Dictionary(), /*training_items=*/0);
  const auto shapes = shapes_of(theirs);
  print_info(flags, ours.state, vocabulary_of(shapes), count_parameters(shapes));
}

/// "model name" of the first processor, or "unknown".
std::string processor() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const auto colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

void print_machine(const InfoOptions& flags) {
  const std::vector<std::pair<std::string, std::string>> facts = {
      {"processor", processor()},
      {"threads", fmt::format("{}", torch::get_num_threads())},
      {"evomoe's kernels", kernels::vector_unit_name()},
      {"matrix products", kernels::mkl_dispatch()},
      {"LibTorch", TORCH_VERSION},
      {"LibTorch's kernels", at::get_cpu_capability()},
      {"Unicode", unicode_version()},
      {"CUDA devices", fmt::format("{}", torch::cuda::device_count())}};
  if (flags.log_format == "json") {
    nlohmann::ordered_json out;
    for (const auto& [name, value] : facts) out[name] = value;
    fmt::print("{}\n", json_text(out, 2));
    return;
  }
  Table table({"", "value"});
  for (const auto& [name, value] : facts) table.add_row({name, value});
  fmt::print("{}", table.text());
}

}  // namespace

void InfoOptions::describe(OptionTable& table) {
  table.positional("path", &path, "Checkpoint, ours or fairseq's (x.pt); not with --machine.")
      .metavar("CHECKPOINT");
  table.add("machine", &machine,
            "Describes this machine instead, and which instructions the program uses on it.");
  table.add("log-format", &log_format, "Form of the result.").choices({"json", "simple"});
  table.example("evomoe info runs/a/checkpoint_last", "configuration, size, stage and load");
  table.example("evomoe info --machine", "processor, threads, instructions, LibTorch");
}

int info_command(const std::vector<std::string>& arguments) {
  InfoOptions flags;
  if (!parse_command("info", arguments, flags)) return 0;
  if (flags.machine == !flags.path.empty()) {
    fail_usage(
        "evomoe info tells of a checkpoint (evomoe info CHECKPOINT) or of this machine "
        "(evomoe info --machine); give one of them");
  }
  if (flags.machine) {
    print_machine(flags);
    return 0;
  }
  flags.path = named_checkpoint(flags.path).string();
  if (is_fairseq_checkpoint(flags.path)) {
    print_info_of_fairseq(flags);
    return 0;
  }
  const auto state = read_state(flags.path);
  print_info(flags, state, stored_vocabulary(state.model),
             count_parameters(model_shapes(flags.path)));
  return 0;
}

}  // namespace evomoe
