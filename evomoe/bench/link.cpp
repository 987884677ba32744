#include "evomoe/bench/link.h"

#include <fmt/format.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/bench/machine_peak.h"
#include "evomoe/bench/results.h"

namespace evomoe::bench {
namespace {

/// An operation between the ranks, made ready for so many words of each.
struct LinkOperation {
  std::string name;
  std::function<std::function<void()>(int64_t words, Communicator& ranks)> prepare;
};

std::vector<LinkOperation> link_operations() {
  return {
      {"all-reduce",
       [](int64_t words, Communicator& ranks) {
         const auto all = torch::zeros({words});
         return [&ranks, all] { ranks.start_all_reduce_sum(all)->wait(); };
       }},
      {"all-gather",
       [](int64_t words, Communicator& ranks) {
         const auto part = torch::zeros({words / ranks.size()});
         const auto all = torch::zeros({part.numel() * ranks.size()});
         return [&ranks, part, all] { ranks.start_all_gather(all, part)->wait(); };
       }},
      {"reduce-scatter",
       [](int64_t words, Communicator& ranks) {
         const auto part = torch::zeros({words / ranks.size()});
         const auto all = torch::zeros({part.numel() * ranks.size()});
         return [&ranks, part, all] { ranks.start_reduce_scatter_sum(part, all)->wait(); };
       }},
      {"all-to-all",
       [](int64_t words, Communicator& ranks) {
         const std::vector<int64_t> even(static_cast<size_t>(ranks.size()), words / ranks.size());
         const auto rows = torch::zeros({words / ranks.size() * ranks.size()});
         return [&ranks, even, rows] { ranks.all_to_all(rows, even, even); };
       }},
  };
}

Timing timing_of(const LinkOperation& operation, int64_t words, const RunOptions& options,
                 Communicator& ranks) {
  const auto once = operation.prepare(words, ranks);
  measure(once, options.warmup);
  return measure(
      once, options.repeats, [] {}, std::numeric_limits<double>::infinity());
}

}  // namespace

void describe(OptionTable& table, LinkOptions& o) {
  table.group(kCaseGroup, "Sizes");
  table.add("mib", &o.mib, "MiB that each rank has.").range(1, 1 << 14);
  describe(table, o.run);
  o.distributed.describe_of_result(table);
}

void run(const LinkOptions& options, std::shared_ptr<Communicator> ranks) {
  if (options.run.list) {
    fmt::print("case link: all-reduce all-gather reduce-scatter all-to-all\n");
    return;
  }
  if (ranks->size() == 1)
    fail_usage("one process has nobody to talk to: give --distributed-world-size 2 or more");
  use_threads(options.run);
  Results results({{"impl", "operation"},
                   {"ranks", "ranks"},
                   {"ms_median", "median ms", 2},
                   {"ms_min", "min ms", 2},
                   {"sent_gbs", "sent GB/s", 2},
                   {"latency_ms", "of one word, ms", 3}});
  const MachinePeak peak(0);
  for (const auto& operation : link_operations()) {
    // A word for each rank: what an operation takes beside its bytes.
    const auto latency = timing_of(operation, ranks->size(), options.run, *ranks).median();
    const auto before = ranks->bytes_sent();
    Result result;
    result.timing = timing_of(operation, options.mib << 18, options.run, *ranks);
    const auto bytes = static_cast<double>(ranks->bytes_sent() - before) /
                       static_cast<double>(options.run.warmup + options.run.repeats);
    if (ranks->rank() > 0) continue;
    result.impl = "evomoe:" + operation.name;
    result.case_label = fmt::format("{} MiB", options.mib);
    auto line = result_line(result, peak);
    line["ranks"] = ranks->size();
    line["sent_gbs"] = rounded(1e-6 * bytes / result.timing.median(), 3);
    line["latency_ms"] = rounded(latency, 4);
    results.add(std::move(line));
  }
  if (ranks->rank() == 0) results.print_table();
}

}  // namespace evomoe::bench
