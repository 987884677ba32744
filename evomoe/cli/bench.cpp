#include <fmt/ranges.h>

#include "evomoe/base/error.h"
#include "evomoe/base/nearest_name.h"
#include "evomoe/bench/checkpoint.h"
#include "evomoe/bench/data.h"
#include "evomoe/bench/gemm.h"
#include "evomoe/bench/generate.h"
#include "evomoe/bench/layer.h"
#include "evomoe/bench/loss.h"
#include "evomoe/bench/router.h"
#include "evomoe/bench/step.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/config/describe.h"

namespace evomoe {
namespace {

struct Benchmark {
  std::string name, summary;
  void (*run)(const Benchmark& self, const std::vector<std::string>& arguments);
};

template <typename Options>
void run_benchmark(const Benchmark& self, const std::vector<std::string>& arguments) {
  Options options;
  OptionTable table("bench " + self.name, "measures " + self.summary);
  describe(table, options);
  if (table.parse(arguments)) {
    bench::check_suite(table);
    run(options);
  } else {
    fmt::print("{}", table.help_text());
  }
}

const std::vector<Benchmark>& benchmarks() {
  static const std::vector<Benchmark> all = {
      {"gemm", "the matrix products of an MoE layer's experts, by the library alone",
       run_benchmark<bench::GemmOptions>},
      {"layer", "one MoE layer with its router, forward and backward",
       run_benchmark<bench::LayerOptions>},
      {"step", "training steps of a GPT with MoE layers", run_benchmark<bench::StepOptions>},
      {"router", "routing methods, forward and backward", run_benchmark<bench::RouterBenchOptions>},
      {"loss", "output projection and cross-entropy, beside their plain form",
       run_benchmark<bench::LossOptions>},
      {"data", "reading a data set, and how long training waits for it",
       run_benchmark<bench::DataBenchOptions>},
      {"checkpoint",
       "training that writes checkpoints in the background, beside training that does not",
       run_benchmark<bench::CheckpointBenchOptions>},
      {"generate", "generation of text with a key-value cache",
       run_benchmark<bench::GenerateBenchOptions>},
  };
  return all;
}

std::string overview() {
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

int bench_command(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h") {
    fmt::print("{}", overview());
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
      benchmark.run(benchmark, {arguments.begin() + 1, arguments.end()});
      return 0;
    }
    names.push_back(benchmark.name);
  }
  const auto nearest = nearest_name(arguments[0], names);
  fail_usage("'{}' is no benchmark{}; there are: {}", arguments[0],
             nearest.empty() ? "" : fmt::format(" (did you mean '{}'?)", nearest),
             fmt::join(names, ", "));
}

}  // namespace evomoe
