#include "evomoe/train/options.h"

#include "evomoe/config/describe_groups.h"
#include "evomoe/config/given_options.h"
#include "evomoe/routing/registry.h"

namespace evomoe {

void describe(OptionTable& table, TrainOptions& o) {
  table.positional("data", &o.data, "data-bin folder, or several as a:b:c, one per epoch.")
      .metavar("DATA")
      .required();
  describe_task(table, o.task, o.model.arch);
  describe_model(table, o.model);
  o.moe.describe(table);
  o.evolution.describe(table);
  describe_router_options(table, o.routers);
  describe_criterion(table, o.criterion);
  o.optimizer.describe(table);
  describe_optimization(table, o.optimization);
  describe_dataset(table, o.dataset);
  describe_checkpoint(table, o.checkpoint);
  describe_resources(table, o.resources);
  describe_common(table, o.common);
  describe_legacy_train(table);
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
      options, [](OptionTable& table, TrainOptions& each) { describe(table, each); }, visit);
}

}  // namespace evomoe
