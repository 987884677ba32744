#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "evomoe/parallel/rank_place.h"

namespace evomoe {

/// Starts this program again, with the same arguments, once for each of the plan's ranks on this
/// machine, and waits for them. The place of each is in its environment, as torchrun sets it, and
/// init_method in EVOMOE_INIT_METHOD.
///
/// A signal (SIGINT, SIGTERM) that this process gets reaches each rank once. When a rank fails, the
/// others get twenty seconds to end by themselves, then SIGTERM, then SIGKILL; one that is stopped
/// gets SIGKILL at once. When this process dies they get SIGTERM.
///
/// When a rank was killed, or ranks have lost others (kLostRanksExit), all are started again with
/// the same arguments, up to `max_restarts` times. Not after another error, which would come again.
///
/// UsageError for more than 16 ranks a core. Returns the exit code of the rank that failed first,
/// else 0; one that only lost the others does not count where another one has failed.
int run_local_ranks(const RankPlan& plan, const std::vector<std::string>& arguments,
                    int64_t max_restarts = 0);

}  // namespace evomoe
