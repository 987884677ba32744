#include "evomoe/generate/evaluation_options.h"

#include "evomoe/config/describe.h"
#include "evomoe/config/describe_groups.h"
#include "evomoe/train/options.h"

namespace evomoe {
namespace {

void ignore_training(OptionTable& table) {
  TrainOptions options;
  OptionTable train("train", "");
  describe(train, options);
  describe_legacy_evaluation(table, train);
}

}  // namespace

void describe_validate(OptionTable& table, EvalOptions& options) {
  describe_own_validate(table, options);
  ignore_training(table);
}

void describe_eval_lm(OptionTable& table, EvalOptions& options) {
  describe_own_eval_lm(table, options);
  ignore_training(table);
}

void describe(OptionTable& table, GenerateOptions& options) {
  describe_own(table, options);
  ignore_training(table);
}

void describe(OptionTable& table, InteractiveOptions& options) {
  describe_own(table, options);
  ignore_training(table);
}

}  // namespace evomoe
