#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdlib>

#include "evomoe/cli/command_list.h"
#include "evomoe/cli/parse.h"
#include "evomoe/parallel/local_ranks.h"
#include "evomoe/run/training_run.h"
#include "evomoe/train/optimizer_settings.h"
#include "evomoe/train/validate_options.h"

namespace evomoe {
namespace {

/// The cores of a machine are shared among its ranks, unless the user says who gets how many. This
/// is no option of the run, which would be stored with it.
void share_cores(const RankPlace& place, const CommonOptions& options) {
  constexpr const char* kThreads = "OMP_NUM_THREADS";
  if (place.local_size == 1 || options.threads > 0 || std::getenv(kThreads) != nullptr) return;
  const auto share = std::max<int64_t>(1, at::get_num_threads() / place.local_size);
  at::set_num_threads(static_cast<int>(share));
  setenv(kThreads, std::to_string(share).c_str(), /*overwrite=*/1);  // so ComputeThreads keeps it
}

}  // namespace

int train_command(const std::vector<std::string>& arguments) {
  TrainOptions options;
  OptionTable table("train", command_summary("train"));
  options.describe(table);
  if (!parse_quietly(table, arguments)) return 0;
  const auto plan = plan_ranks(options.distributed, process_environment);
  if (plan.processes > 1) {
    validate_options(options);
    auto again = arguments;
    again.insert(again.begin(), "train");
    return run_local_ranks(plan, again);
  }
  if (plan.first.rank > 0) log().set_level(spdlog::level::err);
  tell_notices(table);
  if (!table.is_set("lr") && !sets_own_learning_rate(options)) {
    log().warn(
        "no --lr is given, so it is {}, fairseq's default, which is far too high for most models; "
        "give one that suits the model, e.g. --lr 0.0005",
        options.optimization.lr.front());
  }
  share_cores(plan.first, options.common);
  return TrainingRun(options, plan.first).run();
}

}  // namespace evomoe
