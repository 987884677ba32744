#include "evomoe/bench/layer.h"

#include <fmt/format.h>

#include "evomoe/base/error.h"
#include "evomoe/bench/hash_data.h"
#include "evomoe/bench/machine_peak.h"
#include "evomoe/bench/process_memory.h"
#include "evomoe/bench/results.h"

namespace evomoe::bench {
namespace {

/// A layer and the repeat that is timed.
class LayerRun {
 public:
  LayerRun(const LayerCase& layer, const LayerData& data, bool balanced)
      : layer_(make_layer(layer, data, balanced)),
        x_(data.x_TD.clone().unsqueeze(0).requires_grad_()),
        upstream_(data.upstream_TD.unsqueeze(0)) {
    context_.communicator = &communicator_;
    context_.schedule = layer.schedule();
    context_.noise.sequence_length = static_cast<uint32_t>(layer.tokens);
  }

  /// Outside the clock: no gradient is there when a repeat begins.
  void clear() {
    output_ = {};
    x_.mutable_grad().reset();
    layer_->zero_grad(/*set_to_none=*/true);
  }

  void step() {
    output_ = layer_->forward(x_, context_);
    output_.y_BSD.backward(upstream_);
  }

  int64_t assignments() const { return output_.stats.assignments; }
  int64_t largest_load() const { return output_.stats.load_E.max().item<int64_t>(); }
  int64_t used_experts() const { return output_.stats.load_E.gt(0).sum().item<int64_t>(); }

  std::map<std::string, double> checksums() const {
    auto checksums = gradient_checksums(layer_->experts()->weights);
    checksums["loss"] = projection(output_.y_BSD, 9);
    checksums["grad_x"] = projection(x_.grad(), 101);
    checksums["grad_router"] = projection(layer_->router()->gate_weight().grad(), 102);
    return checksums;
  }

 private:
  MoELayer layer_;
  torch::Tensor x_, upstream_;
  SelfCommunicator communicator_;
  RoutingContext context_;
  MoEOutput output_;
};

/// One pass of a toy layer, so that code that is loaded on first use is not charged to the layer
/// that is measured.
void prime(const LayerCase& layer) {
  LayerCase toy{.tokens = 8, .dim = 32, .hidden = 32, .experts = 2};
  toy.topk = layer.topk == layer.experts ? 2 : 1;
  toy.dts = layer.dts;
  toy.ffn = layer.ffn;
  LayerRun(toy, layer_data(toy), /*balanced=*/false).step();
}

std::string impl_of(const LayerCase& layer, bool balanced) {
  std::string impl = "evomoe";
  if (!layer.dts.empty()) impl += ":dts";
  if (balanced) impl += ":balanced-routing";
  if (layer.recompute_experts) impl += ":recompute";
  return impl;
}

/// Bytes of weights that must move: those of experts with tokens are read in both passes, and every
/// gradient is written.
double weight_bytes(const LayerCase& layer, int64_t used_experts) {
  return 4.0 * static_cast<double>(expert_work(layer.form()).forward) *
         static_cast<double>(2 * used_experts + layer.experts);
}

nlohmann::ordered_json measure_layer(const LayerCase& layer, const LayerOptions& options,
                                     const MachinePeak& peak) {
  const bool balanced = options.debug_balanced_routing;
  const auto data = layer_data(layer);
  prime(layer);
  PeakMemory memory;
  LayerRun run(layer, data, balanced);
  const auto clear = [&] { run.clear(); };
  const auto step = [&] { run.step(); };
  measure(step, options.run.warmup, clear, options.run.budget_s / 2);
  memory.restart();
  const auto faults = minor_faults();
  Result result;
  result.timing = measure(step, options.run.repeats, clear, options.run.budget_s);
  result.faults = minor_faults() - faults;
  result.peak_mib = memory.peak_mib();
  result.impl = impl_of(layer, balanced);
  result.case_label = layer.label();
  const auto tokens = static_cast<double>(layer.tokens);
  result.tokens = tokens;
  const auto assignments = static_cast<double>(run.assignments());
  result.gflop = layer.useful_gflop(assignments);
  for (const auto& [name, value] : run.checksums()) result.checksum[name] = significant(value);
  auto line = result_line(result, peak);
  const double active = assignments / tokens;
  line["ffn"] = layer.ffn;
  line["weights"] = "raw";
  line["active_experts"] = rounded(active, 4);
  line["ms_per_active_expert"] = rounded(result.timing.median() / active, 4);
  line["largest_load"] = run.largest_load();
  line["used_experts"] = run.used_experts();
  const auto gate = layer.experts * layer.dim;
  const double weights_mib =
      4.0 * static_cast<double>(expert_numel(layer.form()) + gate) / (1 << 20);
  line["resident_mb"] = {{"weights", rounded(weights_mib, 1)},
                         {"gradients", rounded(weights_mib, 1)},
                         {"beyond", rounded(result.peak_mib - 2 * weights_mib, 1)}};
  line["memory_fraction"] = rounded(
      1e-6 * weight_bytes(layer, run.used_experts()) / result.timing.median() / peak.memory_gbs(),
      4);
  return line;
}

std::vector<LayerCase> cases_of(const LayerOptions& options) {
  if (options.run.suite) return suite_cases(layer_suites(), *options.run.suite);
  return {options.layer};
}

}  // namespace

void describe(OptionTable& table, LayerOptions& o) {
  describe_sizes(table, o.layer, o.topk);
  table.add("skew", &o.layer.skew, "How tokens are spread over the experts.")
      .choices({"uniform", "zipf", "balanced"});
  table.add("zipf-s", &o.layer.zipf_s, "Exponent of the Zipf loads.").at_least(0);
  table
      .add("dts", &o.layer.dts,
           "Route by the dense-to-sparse gate in a phase of its schedule: all, a temperature, hard "
           "(one expert, with noise) or argmax (one expert, without noise).")
      .metavar("PHASE");
  table.group("execution", "How it is computed");
  table
      .add("ffn", &o.layer.ffn,
           "Experts: gelu has two matrices and biases; swiglu and geglu are gated and have three "
           "matrices without biases.")
      .choices({"gelu", "swiglu", "geglu"});
  table.add("recompute-experts", &o.layer.recompute_experts,
            "Make the experts' pre-activations again in the backward pass: less memory, a seventh "
            "product.");
  table.add("debug-balanced-routing", &o.debug_balanced_routing,
            "Replace the router's choice by equal loads: an upper bound of the speed.");
  describe(table, o.run);
}

void run(const LayerOptions& given) {
  auto options = given;
  if (options.run.list) {
    fmt::print("{}", suite_list(layer_suites()));
    return;
  }
  options.layer.topk = parse_topk(options.topk, options.layer.experts);
  const auto cases = cases_of(options);
  for (const auto& layer : cases) {
    layer.validate();
    if (options.debug_balanced_routing && !layer.dts.empty()) {
      fail_usage(
          "--debug-balanced-routing with --dts {}: the one replaces the choice that the other "
          "makes; "
          "leave one of them out",
          layer.dts);
    }
  }
  use_threads(options.run);
  Results results({{"case", "case"},
                   {"impl", "impl"},
                   {"ms_median", "median ms", 2},
                   {"ms_min", "min ms", 2},
                   {"gflops", "GFLOP/s", 1},
                   {"sgemm_gflops", "peak", 1},
                   {"sgemm_fraction", "of peak", 3},
                   {"memory_fraction", "of memory speed", 3},
                   {"peak_mem_mb", "MiB", 0},
                   {"active_experts", "active", 2},
                   {"ms_per_active_expert", "ms / active", 2},
                   {"minor_faults", "page faults"}});
  MachinePeak peak(options.run.peak_seconds);
  for (const auto& layer : cases) {
    peak.measure();
    results.add(measure_layer(layer, options, peak));
  }
  results.print_table();
}

std::map<std::string, double> layer_checksums(const LayerCase& layer) {
  LayerRun run(layer, layer_data(layer), /*balanced=*/false);
  run.step();
  return run.checksums();
}

}  // namespace evomoe::bench
