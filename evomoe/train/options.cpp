#include "evomoe/train/options.h"

#include "evomoe/config/given_options.h"
#include "evomoe/legacy/legacy_flags.h"
#include "evomoe/routing/registry.h"
#include "evomoe/train/architecture_defaults.h"
#include "evomoe/train/task.h"

namespace evomoe {

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
