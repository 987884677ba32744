// Does compute follow the routing? Time and memory of an MoE layer (forward and backward) while the share of experts a token uses falls, beside
// this machine's own matrix-product peak, measured in the same process. JSON lines on stdout, a table on stderr.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "evomoe/moe/expert_bank.h"
#include "evomoe/report/table.h"

namespace evomoe {
namespace {

double seconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Median of `rounds` runs after one that is not counted.
double median_seconds(int rounds, const std::function<void()>& work) {
  work();
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) times.push_back(seconds(work));
  std::nth_element(times.begin(), times.begin() + rounds / 2, times.end());
  return times[static_cast<size_t>(rounds / 2)];
}

double peak_gflops() {
  const auto a = torch::randn({2048, 2048}), b = torch::randn({2048, 2048});
  auto c = torch::empty({2048, 2048});
  return 2.0 * 2048 * 2048 * 2048 / median_seconds(5, [&] { torch::mm_out(c, a, b); }) / 1e9;
}

double resident_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

/// k experts for every token, spread evenly.
Routing balanced(int64_t tokens, int64_t experts, int64_t k) {
  auto selected = torch::zeros({tokens, experts}, torch::kBool);
  for (int64_t j = 0; j < k; ++j) {
    const auto expert = (torch::arange(tokens) * k + j).remainder(experts);
    selected.scatter_(1, expert.unsqueeze(1), true);
  }
  return Routing::from_mask(selected, torch::full({tokens, experts}, 1.0 / static_cast<double>(k)).requires_grad_());
}

}  // namespace
}  // namespace evomoe

int main() {
  using namespace evomoe;
  const int64_t T = 2048, D = 512, H = 2048, E = 8;
  const double peak = peak_gflops();
  Table table({"active of 8", "ms", "ms / active", "share of matmul peak", "peak memory MB"});
  for (int64_t k = 1; k <= E; k *= 2) {
    ExpertBank bank(ExpertBankOptions{.num_experts = E, .model_dim = D, .hidden_dim = H});
    bank->initialise(1);
    const auto x = torch::randn({T, D}).requires_grad_();
    const auto gradient = torch::randn({T, D});
    const auto routing = balanced(T, E, k);
    const double time = median_seconds(7, [&] {
      bank->zero_grad();
      x.mutable_grad() = torch::Tensor();
      bank->forward(x, routing, NoiseKey{}, true).backward(gradient, /*retain_graph=*/true);
    });
    const double flops = 3.0 * 2 * 2 * static_cast<double>(T * k * D * H);
    const double share = flops / time / 1e9 / peak;
    table.add_row({fmt::format("{}", k), fmt::format("{:.1f}", time * 1e3), fmt::format("{:.1f}", time * 1e3 / static_cast<double>(k)),
                   fmt::format("{:.2f}", share), fmt::format("{:.0f}", resident_mb())});
    nlohmann::ordered_json line;
    line["case"] = fmt::format("layer S{} M{} H{} E{} k{}", T, D, H, E, k);
    line["milliseconds"] = time * 1e3;
    line["share_of_peak"] = share;
    line["peak_gflops"] = peak;
    line["max_rss_mb"] = resident_mb();
    fmt::print("{}\n", line.dump());
  }
  fmt::print(stderr, "matmul peak {:.0f} GFLOP/s with {} threads\n{}", peak, at::get_num_threads(), table.text());
}
