#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/train/training_run.h"

namespace evomoe {

int train_command(const std::vector<std::string>& arguments) {
  TrainOptions options;
  const auto bind = [](OptionTable& table, TrainOptions& o) { describe(table, o); };
  if (!parse_command("train", arguments, options, bind)) return 0;
  return TrainingRun(options).run();
}

}  // namespace evomoe
