#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/config/option_table.h"
#include "evomoe/loading/loaded_model.h"
#include "evomoe/parallel/communicator.h"
#include "evomoe/parallel/distributed_options.h"
#include "evomoe/parallel/process_group.h"
#include "evomoe/parallel/rank_place.h"
#include "evomoe/train/process_options.h"

/// Commands that can run as several processes.
namespace evomoe {

/// Where this process stands; or the exit code of the ranks that it has started, for which it
/// waited.
struct CommandRank {
  RankPlace place;
  std::optional<int> exit_code;
};

/// The first step of such a command. `check` refuses options that cannot work, before any process
/// is started. The log of a rank but 0 has errors only, and ranks of one machine share its cores.
CommandRank rank_of_command(const std::string& command, const std::vector<std::string>& arguments,
                            const DistributedOptions& options, const CommonOptions& common,
                            const std::function<void()>& check);

/// Joins the other ranks of a command that trains nothing. Error where they have other options,
/// another version of the program, or other `facts`.
std::shared_ptr<Communicator> join_command(const RankPlace& place, const OptionTable& table,
                                           const DistributedOptions& options, RankFacts facts);

/// What ranks say of a checkpoint: that all have read the same.
RankFacts model_facts(const LoadedModel& loaded);

}  // namespace evomoe
