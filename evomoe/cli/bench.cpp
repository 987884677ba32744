#include <fmt/ranges.h>

#include "evomoe/base/error.h"
#include "evomoe/base/nearest_name.h"
#include "evomoe/bench/checkpoint.h"
#include "evomoe/bench/data.h"
#include "evomoe/bench/gemm.h"
#include "evomoe/bench/generate.h"
#include "evomoe/bench/layer.h"
#include "evomoe/bench/link.h"
#include "evomoe/bench/loss.h"
#include "evomoe/bench/router.h"
#include "evomoe/bench/step.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/command_ranks.h"
#include "evomoe/config/describe.h"

namespace evomoe {
namespace {

struct Benchmark {
  std::string name, summary;
  int (*run)(const Benchmark& self, const std::vector<std::string>& arguments);
  std::shared_ptr<const OptionTable> (*table)(const Benchmark& self);
};

/// Measures with the ranks that the options ask for.
template <typename Options>
int run_with_ranks(const Benchmark& self, const std::vector<std::string>& arguments,
                   const OptionTable& table, const Options& options) {
  auto again = arguments;
  again.insert(again.begin(), self.name);
  CommonOptions common;
  common.threads = options.run.threads;
  const auto rank = rank_of_command("bench", again, options.distributed, common, [] {});
  if (rank.exit_code) return *rank.exit_code;
  run(options, join_command(rank.place, table, options.distributed, {}));
  return 0;
}

template <typename Options>
int run_benchmark(const Benchmark& self, const std::vector<std::string>& arguments) {
  Options options;
  OptionTable table("bench " + self.name, "measures " + self.summary);
  describe(table, options);
  if (!table.parse(arguments)) {
    fmt::print("{}", table.help_text());
    return 0;
  }
  bench::check_suite(table);
  if constexpr (requires { options.distributed; }) {
    return run_with_ranks(self, arguments, table, options);
  } else {
    run(options);
    return 0;
  }
}

template <typename Options>
std::shared_ptr<const OptionTable> table_of(const Benchmark& self) {
  return make_table<Options>(
      "bench " + self.name, "measures " + self.summary,
      [](OptionTable& table, Options& options) { describe(table, options); });
}

template <typename Options>
Benchmark benchmark(const std::string& name, const std::string& summary) {
  return {name, summary, run_benchmark<Options>, table_of<Options>};
}

const std::vector<Benchmark>& benchmarks() {
  static const std::vector<Benchmark> all = {
      benchmark<bench::GemmOptions>(
          "gemm", "the matrix products of an MoE layer's experts, by the library alone"),
      benchmark<bench::LayerOptions>("layer",
                                     "one MoE layer with its router, forward and backward"),
      benchmark<bench::LinkOptions>("link", "how fast the ranks of a run talk to each other"),
      benchmark<bench::StepOptions>("step", "training steps of a GPT with MoE layers"),
      benchmark<bench::RouterBenchOptions>("router", "routing methods, forward and backward"),
      benchmark<bench::LossOptions>("loss",
                                    "output projection and cross-entropy, beside their plain form"),
      benchmark<bench::DataBenchOptions>("data",
                                         "reading a data set, and how long training waits for it"),
      benchmark<bench::CheckpointBenchOptions>(
          "checkpoint",
          "training that writes checkpoints in the background, beside training that does not"),
      benchmark<bench::GenerateBenchOptions>("generate",
                                             "generation of text with a key-value cache"),
  };
  return all;
}

std::string benchmarks_overview() {
  auto text = fmt::format(
      "evomoe bench {}.\n\n"
      "usage: evomoe bench NAME [OPTIONS]\n"
      "       evomoe bench NAME --help   tells all of a benchmark\n"
      "       evomoe bench NAME --list   names its suites and cases\n\n"
      "benchmarks:\n",
      command_summary("bench"));
  for (const auto& benchmark : benchmarks())
    text += fmt::format("  {:<12} {}\n", benchmark.name, benchmark.summary);
  return text + "\nResults are JSON lines on stdout, and a table on stderr.\n";
}

}  // namespace

std::vector<std::shared_ptr<const OptionTable>> benchmark_tables() {
  std::vector<std::shared_ptr<const OptionTable>> tables;
  for (const auto& each : benchmarks()) tables.push_back(each.table(each));
  return tables;
}

int bench_command(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h") {
    fmt::print("{}", benchmarks_overview());
    return arguments.empty() ? 2 : 0;
  }
  if (arguments[0] == "--list") {
    for (const auto& benchmark : benchmarks()) {
      fmt::print("{}\n", benchmark.name);
      benchmark.run(benchmark, {"--list"});
    }
    return 0;
  }
  std::vector<std::string> names;
  for (const auto& benchmark : benchmarks()) {
    if (benchmark.name == arguments[0]) {
      return benchmark.run(benchmark, {arguments.begin() + 1, arguments.end()});
    }
    names.push_back(benchmark.name);
  }
  const auto nearest = nearest_name(arguments[0], names);
  fail_usage("'{}' is no benchmark{}; there are: {}", arguments[0],
             nearest.empty() ? "" : fmt::format(" (did you mean '{}'?)", nearest),
             fmt::join(names, ", "));
}

}  // namespace evomoe
