#include "evomoe/bench/gemm.h"

#include <fmt/format.h>

#include "evomoe/base/error.h"
#include "evomoe/bench/machine_peak.h"
#include "evomoe/bench/process_memory.h"
#include "evomoe/bench/results.h"

namespace evomoe::bench {
namespace {

/// One product of every expert, a [m,k] times b [k,n].
struct Product {
  std::string name;
  torch::Tensor a_Emk, b_Ekn;
};

/// The products of forward (first two) and backward pass when each expert has `rows` tokens.
std::vector<Product> expert_products(const LayerCase& layer, int64_t rows) {
  const auto E = layer.experts, D = layer.dim, H = layer.hidden;
  const auto w1_EHD = torch::randn({E, H, D}), w2_EDH = torch::randn({E, D, H});
  const auto x_ERD = torch::randn({E, rows, D}), grad_y_ERD = torch::randn({E, rows, D});
  const auto act_ERH = torch::randn({E, rows, H}), grad_z_ERH = torch::randn({E, rows, H});
  const auto transposed = [](const torch::Tensor& t) { return t.transpose(1, 2); };
  return {{"x.w1'", x_ERD, transposed(w1_EHD)},
          {"act.w2'", act_ERH, transposed(w2_EDH)},
          {"grad_y.w2", grad_y_ERD, w2_EDH},
          {"grad_z.w1", grad_z_ERH, w1_EHD},
          {"grad_y'.act", transposed(grad_y_ERD), act_ERH},
          {"grad_z'.x", transposed(grad_z_ERH), x_ERD}};
}

nlohmann::ordered_json measure_product(const Product& product, const LayerCase& layer,
                                       const RunOptions& options, const MachinePeak& peak) {
  const auto E = layer.experts;
  const auto m = product.a_Emk.size(1), k = product.a_Emk.size(2), n = product.b_Ekn.size(2);
  auto out_Emn = torch::empty({E, m, n});
  const auto all = [&] {
    for (int64_t e = 0; e < E; ++e) {
      auto out = out_Emn[e];
      torch::mm_out(out, product.a_Emk[e], product.b_Ekn[e]);
    }
  };
  measure(all, options.warmup);
  Result result;
  const auto faults = minor_faults();
  result.timing = measure(
      all, options.repeats, [] {}, options.budget_s);
  result.faults = minor_faults() - faults;
  result.impl = "library";
  result.case_label = fmt::format("{} {}", layer.label(), product.name);
  result.tokens = static_cast<double>(layer.tokens);
  result.gflop = 2e-9 * static_cast<double>(E * m * n * k);
  auto line = result_line(result, peak);
  line["product"] = product.name;
  line["m"] = m;
  line["n"] = n;
  line["k"] = k;
  const double bytes = 4.0 * static_cast<double>(E * (m * k + k * n + m * n));
  line["memory_fraction"] = rounded(1e-6 * bytes / result.timing.median() / peak.memory_gbs(), 4);
  return line;
}

}  // namespace

void describe(OptionTable& table, GemmOptions& o) {
  describe_sizes(table, o.layer, o.topk);
  describe(table, o.run);
}

void run(const GemmOptions& options) {
  std::vector<Suite<LayerCase>> suites;
  for (const auto& suite : layer_suites()) {
    // Rows per expert are taken as equal, and all phases of a dense-to-sparse gate are the same.
    // The products of gated experts are those of others.
    if (suite.name != "dts" && suite.name != "gated") suites.push_back(suite);
  }
  if (options.run.list) {
    fmt::print("{}", suite_list(suites));
    return;
  }
  auto layer = options.layer;
  layer.topk = parse_topk(options.topk, layer.experts);
  const auto cases =
      options.run.suite ? suite_cases(suites, *options.run.suite) : std::vector<LayerCase>{layer};
  for (const auto& one : cases) one.validate();
  use_threads(options.run);
  Results results({{"case", "case"},
                   {"m", "m"},
                   {"n", "n"},
                   {"k", "k"},
                   {"ms_median", "median ms", 2},
                   {"ms_min", "min ms", 2},
                   {"gflops", "GFLOP/s", 1},
                   {"sgemm_gflops", "peak", 1},
                   {"sgemm_fraction", "of peak", 3},
                   {"memory_fraction", "of memory speed", 3}});
  MachinePeak peak(options.run.peak_seconds);
  const torch::NoGradGuard no_grad;
  for (const auto& one : cases) {
    if (one.skew == "zipf") continue;  // equal rows make it the case before
    peak.measure();
    const auto rows = std::max<int64_t>(1, one.tokens * one.topk / one.experts);
    for (const auto& product : expert_products(one, rows))
      results.add(measure_product(product, one, options.run, peak));
  }
  results.print_table();
}

}  // namespace evomoe::bench
