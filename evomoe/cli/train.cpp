#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/run/training_run.h"
#include "evomoe/train/optimizer_settings.h"

namespace evomoe {

int train_command(const std::vector<std::string>& arguments) {
  TrainOptions options;
  OptionTable table("train", command_summary("train"));
  describe(table, options);
  if (!parse_command(table, arguments)) return 0;
  if (!table.is_set("lr") && !sets_own_learning_rate(options)) {
    log().warn(
        "no --lr is given, so it is {}, fairseq's default, which is far too high for most models; "
        "give one that suits the model, e.g. --lr 0.0005",
        options.optimization.lr.front());
  }
  return TrainingRun(options).run();
}

}  // namespace evomoe
