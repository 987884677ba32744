#include "evomoe/bench/router.h"

#include <fmt/ranges.h>
#include <torch/torch.h>

#include "evomoe/base/error.h"
#include "evomoe/base/nearest_name.h"
#include "evomoe/bench/hash_data.h"
#include "evomoe/bench/layer_case.h"
#include "evomoe/bench/machine_peak.h"
#include "evomoe/bench/process_memory.h"
#include "evomoe/bench/results.h"
#include "evomoe/routing/registry.h"
#include "evomoe/routing/topk_router.h"

namespace evomoe::bench {
namespace {

constexpr int64_t kWords = 1024;  ///< of methods that route words

/// A method of the registry in a phase of its schedule.
struct Variant {
  std::string name;
  std::string method;
  RouterSchedule schedule;
};

std::vector<Variant> variants() {
  std::vector<Variant> all;
  for (const auto& method : router_names()) {
    if (method == "dts") {
      all.push_back({"dts:soft", method, {.temperature = 0.3}});
      all.push_back({"dts:hard", method, {.temperature = 0.3, .hard = true}});
    } else {
      all.push_back({method, method, {}});
    }
  }
  return all;
}

std::vector<Variant> select(const std::string& method) {
  if (method == "all") return variants();
  std::vector<Variant> chosen;
  for (const auto& variant : variants()) {
    if (variant.name == method || variant.method == method) chosen.push_back(variant);
  }
  if (!chosen.empty()) return chosen;
  const auto names = router_names();
  const auto nearest = nearest_name(method, names);
  fail_usage("--method {}: there is no such routing method{}; there are: {}", method,
             nearest.empty() ? "" : fmt::format(" (did you mean {}?)", nearest),
             fmt::join(names, ", "));
}

std::shared_ptr<Router> make(const Variant& variant, const RouterCase& router) {
  RouterOptions options;
  options.method = variant.method;
  options.model_dim = router.dim;
  options.num_experts = router.experts;
  options.vocab_size = kWords;
  if (variant.method == "topk") options.get<TopkOptions>().k = router.topk;
  // These leave one expert out at least.
  if (variant.method.starts_with("quantile") && router.experts == 2)
    options.get<TopkOptions>().k = 1;
  auto method = make_router(options);
  method->initialise(/*seed=*/1, /*layer=*/0);
  return method;
}

nlohmann::ordered_json measure_router(const Variant& variant, const RouterCase& router,
                                      const LayerData& data, const RunOptions& options,
                                      const MachinePeak& peak) {
  SelfCommunicator communicator;
  RoutingContext context;
  context.communicator = &communicator;
  context.schedule = variant.schedule;
  context.noise.sequence_length = static_cast<uint32_t>(router.tokens);
  context.token_id_T = torch::arange(router.tokens, torch::kInt64).remainder(kWords);
  PeakMemory memory;
  const auto method = make(variant, router);
  {
    const torch::NoGradGuard no_grad;
    method->gate_weight().copy_(data.gate_ED);
  }
  auto x_TD = data.x_TD.clone().requires_grad_();
  // The gradient that experts would send back through the combine weights; as many as there are.
  const auto upstream = hash_tensor(9, {router.tokens * router.experts});
  Routing routing;
  std::vector<double> forward_ms;
  const auto clear = [&] {
    routing = {};
    x_TD.mutable_grad().reset();
    method->zero_grad(/*set_to_none=*/true);
  };
  const auto step = [&] {
    forward_ms.push_back(milliseconds([&] { routing = method->route(x_TD, context); }));
    // Those of `hash` are constants.
    if (routing.weight_A.requires_grad())
      routing.weight_A.backward(upstream.slice(0, 0, routing.num_assignments()));
  };
  measure(step, options.warmup, clear);
  memory.restart();
  forward_ms.clear();
  Result result;
  const auto faults = minor_faults();
  result.timing = measure(step, options.repeats, clear, options.budget_s);
  result.faults = minor_faults() - faults;
  result.peak_mib = memory.peak_mib();
  result.impl = "evomoe:" + variant.name;
  result.case_label = router.label();
  result.tokens = static_cast<double>(router.tokens);
  result.gflop = 3 * 2e-9 * static_cast<double>(router.tokens * router.dim * router.experts);
  result.checksum["weights"] = significant(projection(routing.weight_A, 9));
  if (routing.weight_A.requires_grad()) {
    result.checksum["grad_x"] = significant(projection(x_TD.grad(), 101));
    result.checksum["grad_router"] = significant(projection(method->gate_weight().grad(), 102));
  }
  auto line = result_line(result, peak);
  line["forward_ms"] = rounded(median_of(forward_ms), 4);
  line["active_experts"] =
      rounded(static_cast<double>(routing.num_assignments()) / result.tokens, 4);
  line["nanoseconds_per_token"] = rounded(1e6 * result.timing.median() / result.tokens, 1);
  return line;
}

const std::vector<Suite<RouterCase>>& router_suites() {
  static const std::vector<Suite<RouterCase>> suites = {
      {"small", {{512, 256, 8, 2}, {512, 128, 32, 4}}},
      {"paper", {{2048, 512, 8, 2}, {8192, 256, 16, 2}, {2048, 256, 64, 4}}},
      {"gpt2s", {{1024, 768, 16, 2}}},
  };
  return suites;
}

}  // namespace

std::string RouterCase::label() const {
  return fmt::format("router-S{}-M{}-E{}-k{}", tokens, dim, experts, topk);
}

void RouterCase::validate() const {
  // The data is that of a layer, whose hidden width a router does not see.
  LayerCase{.tokens = tokens, .dim = dim, .hidden = 1, .experts = experts, .topk = topk}.validate();
}

void describe(OptionTable& table, RouterBenchOptions& o) {
  table.group(kCaseGroup, "The router");
  table.add("tokens", &o.router.tokens, "Tokens.").at_least(1);
  table.add("dim", &o.router.dim, "Width of a token.").at_least(1);
  table.add("experts", &o.router.experts, "Experts.").at_least(2);
  table.add("topk", &o.topk, "Experts of a token with the method topk: a number, or E for all.");
  table.group("methods", "Methods");
  table.add("method", &o.method, "One routing method (docs/routing.md), or all.");
  describe(table, o.run);
}

void run(const RouterBenchOptions& options) {
  if (options.run.list) {
    fmt::print("{}methods: {}\n", suite_list(router_suites()), fmt::join(router_names(), ", "));
    return;
  }
  auto router = options.router;
  router.topk = parse_topk(options.topk, router.experts);
  const auto cases = options.run.suite ? suite_cases(router_suites(), *options.run.suite)
                                       : std::vector<RouterCase>{router};
  const auto chosen = select(options.method);
  for (const auto& one : cases) one.validate();
  use_threads(options.run);
  Results results({{"case", "case"},
                   {"impl", "impl"},
                   {"ms_median", "median ms", 3},
                   {"ms_min", "min ms", 3},
                   {"forward_ms", "forward ms", 3},
                   {"nanoseconds_per_token", "ns / token"},
                   {"tokens_per_s", "tokens/s"},
                   {"sgemm_fraction", "of peak", 3},
                   {"active_experts", "active", 2},
                   {"peak_mem_mb", "MiB", 1}});
  MachinePeak peak(options.run.peak_seconds);
  for (const auto& one : cases) {
    peak.measure();
    const auto data = layer_data(
        {.tokens = one.tokens, .dim = one.dim, .hidden = 1, .experts = one.experts, .topk = 1});
    for (const auto& variant : chosen)
      results.add(measure_router(variant, one, data, options.run, peak));
  }
  results.print_table();
}

}  // namespace evomoe::bench
