// Does a dense-to-sparse layer get cheaper as it turns sparse? One MoE layer - router with its
// noise, gate, experts, forward and backward - while the temperature falls and its tokens go from
// all experts to one, then in the hard phase: time, speed beside this machine's own matrix-product
// peak (measured in the same process), and the memory that a pass needs. JSON lines on stdout, a
// table on stderr.
#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/moe/moe_layer.h"
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

/// A line of /proc/self/status, in MB: VmRSS (resident now) or VmHWM (the most since the last
/// reset).
double memory_mb(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) return std::stod(line.substr(name.size() + 1)) / 1024;
  }
  fail("/proc/self/status has no {}: the memory cannot be measured here", name);
}

/// Gives freed memory back and forgets the highest mark, so that a case is measured by itself.
void reset_memory() {
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5";
}

struct Measured {
  double active, seconds, peak_gflops, share_of_peak, peak_mb, pass_mb;
};

Measured measure(MoELayer& layer, const RouterSchedule& schedule) {
  const int64_t B = 8, S = 256;
  const auto D = layer->options().router.model_dim, H = layer->options().hidden_dim,
             E = layer->options().router.num_experts;
  SelfCommunicator communicator;
  RoutingContext context;
  context.communicator = &communicator;
  context.noise.sequence_length = static_cast<uint32_t>(S);
  torch::manual_seed(1);
  const auto x = torch::randn({B, S, D}).requires_grad_(), gradient = torch::randn({B, S, D});
  layer->router()->begin_update(schedule);
  int64_t assignments = 0;
  const auto pass = [&] {
    const auto output = layer->forward(x, context);
    assignments = output.stats.assignments;
    output.y_BSD.backward(gradient);
  };
  pass();  // the gradients of weights and input are there from now on
  // Beside each case: the machine may have other work as time goes on.
  const double before = peak_gflops();
  reset_memory();
  const double idle_mb = memory_mb("VmRSS");
  Measured result{};
  result.seconds = median_seconds(7, pass);
  result.peak_mb = memory_mb("VmHWM");
  result.pass_mb = result.peak_mb - idle_mb;
  result.active = static_cast<double>(assignments) / static_cast<double>(B * S);
  result.peak_gflops = (before + peak_gflops()) / 2;
  const double multiply_adds =
      static_cast<double>(assignments * 2 * D * H) + static_cast<double>(B * S * D * E);
  result.share_of_peak = 3 * 2 * multiply_adds / result.seconds / 1e9 / result.peak_gflops;
  return result;
}

void run() {
  const int64_t D = 512, H = 2048, E = 8;
  MoELayerOptions options;
  options.router.method = "dts";
  options.router.model_dim = D;
  options.router.num_experts = E;
  options.hidden_dim = H;
  MoELayer layer(options);
  Table table({"phase", "experts a token", "ms", "ms / expert", "matmul peak GFLOP/s",
               "share of it", "memory of a pass MB", "peak memory MB"});
  const auto report = [&](const std::string& phase, const RouterSchedule& schedule) {
    const auto m = measure(layer, schedule);
    table.add_row({phase, fmt::format("{:.2f}", m.active), fmt::format("{:.1f}", m.seconds * 1e3),
                   fmt::format("{:.1f}", m.seconds * 1e3 / m.active),
                   fmt::format("{:.0f}", m.peak_gflops), fmt::format("{:.2f}", m.share_of_peak),
                   fmt::format("{:.0f}", m.pass_mb), fmt::format("{:.0f}", m.peak_mb)});
    nlohmann::ordered_json line;
    line["case"] = fmt::format("dts layer T2048 D{} H{} E{} {}", D, H, E, phase);
    line["active_experts"] = m.active;
    line["milliseconds"] = m.seconds * 1e3;
    line["share_of_peak"] = m.share_of_peak;
    line["peak_gflops"] = m.peak_gflops;
    line["pass_mb"] = m.pass_mb;
    line["peak_mb"] = m.peak_mb;
    fmt::print("{}\n", line.dump());
    std::fflush(stdout);
  };
  for (const double temperature : {10.0, 2.0, 1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.01})
    report(fmt::format("temperature {}", temperature), {.temperature = temperature});
  report("hard", {.temperature = 0.3, .hard = true});
  report("hard, no noise", {.temperature = 0.3, .hard = true, .noise_scale = 0});
  fmt::print(stderr, "{} threads\n{}", at::get_num_threads(), table.text());
}

}  // namespace
}  // namespace evomoe

int main() { evomoe::run(); }
