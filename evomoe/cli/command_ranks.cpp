#include "evomoe/cli/command_ranks.h"

#include <ATen/Parallel.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "evomoe/base/log.h"
#include "evomoe/parallel/local_ranks.h"

namespace evomoe {
namespace {

/// Whether another launcher has given this process cores of its own (srun -c, mpirun --bind-to).
bool has_own_cores() {
  cpu_set_t cores;
  return !process_environment(kInitMethodVariable) &&
         sched_getaffinity(0, sizeof(cores), &cores) == 0 &&
         CPU_COUNT(&cores) < sysconf(_SC_NPROCESSORS_ONLN);
}

/// The cores of a machine are shared among its ranks, unless the user says who gets how many, or
/// each has its own. This is no option of the run, which would be stored with it.
void share_cores(const RankPlace& place, const CommonOptions& options) {
  constexpr const char* kThreads = "OMP_NUM_THREADS";
  if (place.local_size == 1 || options.threads > 0 || std::getenv(kThreads) != nullptr) return;
  if (has_own_cores()) return;
  const auto share = std::max<int64_t>(1, at::get_num_threads() / place.local_size);
  at::set_num_threads(static_cast<int>(share));
  setenv(kThreads, std::to_string(share).c_str(), /*overwrite=*/1);  // so ComputeThreads keeps it
}

}  // namespace

CommandRank rank_of_command(const std::string& command, const std::vector<std::string>& arguments,
                            const DistributedOptions& options, const CommonOptions& common,
                            const std::function<void()>& check) {
  const auto plan = plan_ranks(options, process_environment);
  // Of one rank, too, where it may have to be started again; this process then only watches it.
  const bool is_by_hand = options.distributed_rank && !process_environment(kInitMethodVariable);
  if (plan.processes > 1 || (plan.first.size > 1 && is_by_hand && options.max_restarts > 0)) {
    check();
    auto again = arguments;
    again.insert(again.begin(), command);
    return {plan.first, run_local_ranks(plan, again, options.max_restarts)};
  }
  if (plan.first.rank > 0) log().show_errors_only();
  share_cores(plan.first, common);
  return {plan.first, std::nullopt};
}

std::shared_ptr<Communicator> join_command(const RankPlace& place, const OptionTable& table,
                                           const DistributedOptions& options, RankFacts facts) {
  facts.merge(facts_of(table));
  return join_ranks(place, facts, timeout_of(options));
}

RankFacts model_facts(const LoadedModel& loaded) {
  int64_t parameters = 0;
  double sum = 0;
  for (const auto& parameter : loaded.model->parameters()) {
    parameters += parameter.numel();
    sum += parameter.detach().sum(torch::kFloat64).item<double>();
  }
  return {{"the model of " + loaded.path.string(),
           fmt::format("{} parameters after {} updates, whose sum is {}", parameters,
                       loaded.updates, sum)}};
}

}  // namespace evomoe
