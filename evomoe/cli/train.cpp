#include "evomoe/cli/command_list.h"
#include "evomoe/cli/command_ranks.h"
#include "evomoe/cli/parse.h"
#include "evomoe/run/training_run.h"
#include "evomoe/train/optimizer_settings.h"
#include "evomoe/train/validate_options.h"

namespace evomoe {

int train_command(const std::vector<std::string>& arguments) {
  TrainOptions options;
  OptionTable table("train", command_summary("train"));
  options.describe(table);
  if (!parse_quietly(table, arguments)) return 0;
  const auto [place, exit_code] = rank_of_command(
      "train", arguments, options.distributed, options.common, [&] { validate_options(options); });
  if (exit_code) return *exit_code;
  tell_notices(table);
  if (!table.is_set("lr") && !sets_own_learning_rate(options)) {
    log().warn(
        "no --lr is given, so it is {}, fairseq's default, which is far too high for most models; "
        "give one that suits the model, e.g. --lr 0.0005",
        options.optimization.lr.front());
  }
  return TrainingRun(options, place).run();
}

}  // namespace evomoe
