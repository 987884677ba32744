#include "evomoe/train/options.h"

#include <algorithm>
#include <set>

#include "evomoe/config/given_options.h"
#include "evomoe/legacy/legacy_flags.h"
#include "evomoe/routing/registry.h"
#include "evomoe/train/model_family.h"
#include "evomoe/train/task.h"

namespace evomoe {
namespace {

/// Options of routing that an architecture has values for take these where they are not given. What
/// refines a routing method goes with the architecture's own method alone.
void follow_architecture(OptionTable& table, const TrainOptions& options) {
  std::set<std::string> names;
  for (const auto& family : families()) {
    for (const auto& architecture : family->declaration().architectures) {
      for (const auto& [name, value] : architecture.moe) names.insert(name);
    }
  }
  const auto of_methods = router_option_names();
  for (const auto& option : table.options()) {
    const auto name = option->name();
    if (!names.contains(name)) continue;
    const bool of_method = of_methods.contains(name), first = name == "moe-freq";
    const auto rule = [&options, name, of_method, first, otherwise = option->default_value()] {
      const auto& values = find_architecture(options.model.arch).moe;
      const bool own_method = std::any_of(values.begin(), values.end(), [&](const auto& each) {
        return each.first == "moe-router" &&
               each.second.template get<std::string>() == options.moe.moe_router;
      });
      if ((of_method && !own_method) || (!first && options.moe.moe_freq == 0)) return otherwise;
      for (const auto& [of, value] : values) {
        if (of == name) return value;
      }
      return otherwise;
    };
    option->default_from(rule);
  }
}

}  // namespace

void TrainOptions::describe(OptionTable& table) {
  table.positional("data", &data, "data-bin folder, or several as a:b:c, one per epoch.")
      .metavar("DATA")
      .required();
  task.describe(table, model.arch);
  model.describe(table);
  moe.describe(table, {.encoder = encoder_tasks(), .decoder = decoder_tasks()});
  evolution.describe(table);
  describe_router_options(table, routers);
  criterion.describe(table);
  optimizer.describe(table);
  optimization.describe(table);
  dataset.describe(table);
  checkpoint.describe(table);
  resources.describe(table);
  live.describe(table);
  distributed.describe(table);
  common.describe(table);
  follow_architecture(table, *this);
  add_legacy_flags(table, "train");
  table.example(
      "evomoe train data-bin --arch transformer_lm_gpt2_tiny --batch-size 8 --lr 0.001 "
      "--max-update 1000",
      "a small dense model");
  table.example(
      "evomoe train data-bin --batch-size 8 --moe-freq 2 --moe-expert-count 8 --moe-topk-expert "
      "--use-gumbel-softmax --shared-expert-updates 500 --gumbel-decay-scheduler Exp "
      "--max-temperature 2 "
      "--min-temperature 0.05 --gumbel-decay-factor 1000 --switch-to-hard-gumbel-softmax 1200 --lr "
      "0.001 "
      "--max-update 2000",
      "an evolution: one shared expert, eight, then one per token");
  table.example("evomoe train --config runs/a/config.yaml checkpoint.save_dir=runs/b common.seed=2",
                "a run again, with another seed");
}

void for_each_given(const TrainOptions& options,
                    const std::function<void(const OptionTable&, const Option&)>& visit) {
  for_each_given(
      options, [](OptionTable& table, TrainOptions& each) { each.describe(table); }, visit);
}

}  // namespace evomoe
