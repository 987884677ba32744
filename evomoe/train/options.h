#pragma once

#include <functional>
#include <string>

#include "evomoe/checkpoint/checkpoint_options.h"
#include "evomoe/config/option_set.h"
#include "evomoe/data/dataset_options.h"
#include "evomoe/moe/evolution.h"
#include "evomoe/moe/moe_options.h"
#include "evomoe/optim/optimizer_options.h"
#include "evomoe/parallel/distributed_options.h"
#include "evomoe/train/architecture.h"
#include "evomoe/train/criterion_options.h"
#include "evomoe/train/optimization_options.h"
#include "evomoe/train/process_options.h"
#include "evomoe/train/task_options.h"

namespace evomoe {

class Option;
class OptionTable;

/// `evomoe train DATA`.
struct TrainOptions {
  std::string data;  ///< data-bin folder, or several as `a:b:c`
  TaskOptions task;
  ModelOptions model;
  MoeOptions moe;
  EvolutionOptions evolution;
  OptionSet routers;  ///< the options of each routing method (routing/registry.h)
  CriterionOptions criterion;
  OptimizerOptions optimizer;
  OptimizationOptions optimization;
  DatasetOptions dataset;
  CheckpointOptions checkpoint;
  ResourceOptions resources;
  LiveOptions live;
  DistributedOptions distributed;
  CommonOptions common;

  /// Binds the options to the table, which they must outlive.
  void describe(OptionTable& table);
};

/// Visits every option of training that is given (config/given_options.h).
void for_each_given(const TrainOptions& options,
                    const std::function<void(const OptionTable&, const Option&)>& visit);

}  // namespace evomoe
