#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>

#include "evomoe/base/error.h"
#include "evomoe/parallel/communicator.h"
#include "evomoe/parallel/rank_place.h"

namespace evomoe {

class OptionTable;

/// Another process of the run has ended, or does not answer. Nothing is wrong with this one: when
/// all are started again the run goes on. The program exits with kLostRanksExit.
class LostRanksError : public Error {
 public:
  using Error::Error;
};
inline constexpr int kLostRanksExit = 75;  ///< EX_TEMPFAIL of sysexits.h

/// What a rank says of itself, by name: what must be the same on all of them.
using RankFacts = std::map<std::string, std::string>;
/// The program's version, and every option that is not of each rank alone.
RankFacts facts_of(const OptionTable& table);

/// Whether this program was built with Gloo.
bool has_process_groups();

/// Joins the other ranks of a run: LibTorch's Gloo (c10d), on the CPU. Returns when all are there.
/// An Error that names rank, address and remedy where they do not come within `timeout`, a rank
/// comes twice, or their facts differ (each name with both values). Every operation has the same
/// timeout; one that fails (another process ended or hangs) is an Error that names rank, operation
/// and sizes. What only says that others are gone is a LostRanksError, with the reason that they
/// gave (tell_other_ranks). A process that cannot come back from joining, as another one holds a
/// lock and hangs, ends with kLostRanksExit. Where the program is built without Gloo: a UsageError
/// that says what to install.
std::shared_ptr<Communicator> join_ranks(const RankPlace& place, const RankFacts& facts,
                                         std::chrono::milliseconds timeout);

/// For a process that ends with an error of its own: its ranks, whose operations fail now that it
/// is gone, say `reason` in their errors. To be called when its Communicator is gone. Nothing
/// happens where it has joined no others.
void tell_other_ranks(const std::string& reason);

}  // namespace evomoe
