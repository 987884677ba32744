#include "evomoe/cli/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "evomoe/base/byte_size.h"
#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/optim/update_rule.h"
#include "evomoe/plan/layout.h"
#include "evomoe/report/table.h"
#include "evomoe/routing/registry.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/train/architecture_defaults.h"
#include "evomoe/train/model_options.h"
#include "evomoe/train/task.h"
#include "evomoe/train/validate_options.h"

namespace evomoe {
namespace {

/// Experts of a token when the run is as sparse as it gets.
double fewest_experts(const TrainOptions& options) {
  if (!has_experts(options)) return 0;
  const auto& router = options.moe.moe_router;
  if (router == "dts" || router == "switch") return 1;
  const auto made = make_router(router_options(options, /*embed_dim=*/8));
  return static_cast<double>(made->most_experts_per_token());
}

double tokens_of_update(const Workload& work, const Layout& layout) {
  return static_cast<double>(work.tokens * work.micro_batches * layout.ranks);
}

nlohmann::ordered_json json_of(const LayoutCost& cost, const Workload& work) {
  return {{"ranks", cost.layout.ranks},
          {"expert_parallel_size", cost.layout.expert_ranks},
          {"zero_stage", cost.layout.zero_stage},
          {"fits", cost.fits},
          {"memory", cost.memory},
          {"bytes", cost.bytes()},
          {"gradient_bytes", cost.gradient_bytes},
          {"token_bytes", cost.token_bytes},
          {"seconds", cost.seconds()},
          {"compute_seconds", cost.compute_seconds},
          {"update_seconds", cost.update_seconds},
          {"wait_seconds", cost.wait_seconds},
          {"tokens_per_second", tokens_of_update(work, cost.layout) / cost.seconds()}};
}

std::string milliseconds(double seconds) { return fmt::format("{:.1f}", 1e3 * seconds); }

void print_table(const std::vector<LayoutCost>& costs, const Workload& work,
                 const Machine& machine) {
  fmt::print("{}: {}\n", machine.name, machine.about);
  fmt::print(
      "computed, not measured: {} of memory a rank; an update has {:.0f} tokens and {:.3g} "
      "floating-point operations\n\n",
      byte_size_text(static_cast<int64_t>(machine.memory)),
      tokens_of_update(work, costs.front().layout),
      work.flops * static_cast<double>(work.micro_batches * costs.front().layout.ranks));
  Table table({"ranks", "share experts", "zero", "memory", "sent", "compute ms", "optimiser ms",
               "wait ms", "update ms", "tokens/s", "fits"});
  for (const auto& cost : costs) {
    table.add_row({std::to_string(cost.layout.ranks), std::to_string(cost.layout.expert_ranks),
                   std::to_string(cost.layout.zero_stage),
                   byte_size_text(static_cast<int64_t>(cost.memory)),
                   byte_size_text(static_cast<int64_t>(cost.bytes())),
                   milliseconds(cost.compute_seconds), milliseconds(cost.update_seconds),
                   milliseconds(cost.wait_seconds), milliseconds(cost.seconds()),
                   fmt::format("{:.0f}", tokens_of_update(work, cost.layout) / cost.seconds()),
                   cost.fits ? "yes" : "no"});
  }
  fmt::print("{}", table.text());
  if (!costs.front().fits) {
    fmt::print(
        "\nNo layout fits. More ranks, --checkpoint-activations, a smaller --batch-size or "
        "--offload-moments take less memory.\n");
  }
}

std::vector<LayoutCost> plans(const PlanOptions& options, const Workload& work,
                              const Machine& machine) {
  std::vector<LayoutCost> costs;
  const bool element_wise = options.train.optimizer.make_rule()->is_elementwise();
  for (const auto ranks : options.ranks) {
    if (ranks < 1) fail_usage("--ranks {}: a run has one rank at least", ranks);
    for (const auto& layout : layouts_of(ranks, work.experts, element_wise))
      costs.push_back(cost_of(layout, work, machine));
  }
  return ranked(std::move(costs));
}

Vocabulary planned_vocabulary(const PlanOptions& options) {
  if (!options.train.data.empty()) {
    if (options.vocab_size) fail_usage("--vocab-size and DATA: give one of them");
    auto train = options.train;
    return vocabulary_of(*open_task_data(train.data, train));
  }
  if (!options.vocab_size)
    fail_usage("the size of the vocabulary is not known: name a data-bin folder, or --vocab-size");
  return Vocabulary::of_one(*options.vocab_size, Dictionary::kPad);
}

}  // namespace

void PlanOptions::describe(OptionTable& table) {
  table.positional("data", &train.data, "data-bin folder, of whose dictionary the model is.")
      .metavar("DATA");
  table.add("vocab-size", &vocab_size, "Symbols of the dictionary, where no DATA is given.")
      .at_least(1);
  table.add("ranks", &ranks, "Numbers of ranks to plan for.").metavar("N,N,...").required();
  table.add("machine", &machine,
            "A machine that is known (h100_node, h200_node), or a YAML file with the keys of one.");
  table
      .add("active-experts", &active_experts,
           "Experts that a token uses on average; not given: as few as the router can use.")
      .above(0);
  table.add("print-machine", &print_machine, "Prints the machine's YAML file, and ends.");
  table.add("json", &json, "Prints one line of JSON for each layout.");
  train.task.describe(table, train.model.arch);
  train.model.describe(table);
  train.moe.describe(table, {.encoder = encoder_tasks(), .decoder = decoder_tasks()});
  describe_router_options(table, train.routers);
  follow_architecture(table, train);
  train.criterion.describe(table);
  train.optimizer.describe(table);
  train.optimization.describe(table);
  train.dataset.describe(table);
  train.resources.describe(table);
  table.example(
      "evomoe plan --vocab-size 50257 --ranks 8,64 --arch transformer_lm_gptxl_moe --moe-freq 2 "
      "--moe-expert-count 64 --moe-top1-expert --batch-size 8 --tokens-per-sample 1024",
      "layouts for one node and for eight");
}

int plan_command(const std::vector<std::string>& arguments) {
  PlanOptions options;
  OptionTable table("plan", command_summary("plan"));
  options.describe(table);
  if (!parse_quietly(table, arguments)) return 0;
  auto machine = find_machine(options.machine);
  if (options.print_machine) {
    fmt::print("{}", to_yaml(machine));
    return 0;
  }
  if (const auto& budget = options.train.resources.memory_budget) {
    const auto bytes = static_cast<double>(parse_byte_size(*budget, "--memory-budget"));
    machine.memory = std::min(machine.memory, bytes);
  }
  if (options.train.optimization.update_freq.size() > 1)
    fail_usage("--update-freq: a plan is for one number of micro-batches an update; give one");
  check_model(options.train);
  const auto active = options.active_experts.value_or(fewest_experts(options.train));
  const auto experts = has_experts(options.train) ? options.train.moe.moe_expert_count : 0;
  if (active > static_cast<double>(experts))
    fail_usage("--active-experts {}: the model has {} experts", active, experts);
  const auto work = workload_of(options.train, planned_vocabulary(options), active);
  const auto costs = plans(options, work, machine);
  if (options.json) {
    for (const auto& cost : costs) fmt::print("{}\n", json_text(json_of(cost, work)));
  } else {
    print_table(costs, work, machine);
  }
  return 0;
}

}  // namespace evomoe
