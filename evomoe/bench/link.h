#pragma once

#include <cstdint>
#include <memory>

#include "evomoe/bench/bench_options.h"
#include "evomoe/parallel/communicator.h"
#include "evomoe/parallel/distributed_options.h"

namespace evomoe::bench {

/// `evomoe bench link`: how fast ranks add up, gather and exchange, while all of them do. What
/// `evomoe plan` is told of a machine.
struct LinkOptions {
  RunOptions run;
  int64_t mib = 16;  ///< of each rank
  DistributedOptions distributed;
};

void describe(OptionTable& table, LinkOptions& options);
/// UsageError: fewer than two ranks.
void run(const LinkOptions& options, std::shared_ptr<Communicator> ranks);

}  // namespace evomoe::bench
