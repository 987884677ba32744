#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>

#include "evomoe/parallel/communicator.h"
#include "evomoe/parallel/rank_place.h"

namespace evomoe {

/// What a rank says of itself, by name: what must be the same on all of them.
using RankFacts = std::map<std::string, std::string>;

/// Whether this program was built with Gloo.
bool has_process_groups();

/// Joins the other ranks of a run: LibTorch's Gloo (c10d), on the CPU. Returns when all are there.
/// An Error that names rank, address and remedy where they do not come within `timeout`, a rank
/// comes twice, or their facts differ (each name with both values). Every operation has the same
/// timeout; one that fails (another process ended or hangs) is an Error that names rank, operation
/// and sizes. Where the program is built without Gloo: a UsageError that says what to install.
std::shared_ptr<Communicator> join_ranks(const RankPlace& place, const RankFacts& facts,
                                         std::chrono::milliseconds timeout);

}  // namespace evomoe
