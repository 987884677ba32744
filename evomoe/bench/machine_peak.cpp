#include "evomoe/bench/machine_peak.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <array>

#include "evomoe/bench/timing.h"

namespace evomoe::bench {

void MachinePeak::measure() {
  const torch::NoGradGuard no_grad;
  measure_sgemm();
  measure_memory();
}

void MachinePeak::measure_sgemm() {
  constexpr int64_t kBase = 2048;
  constexpr std::array<std::array<int64_t, 3>, 4> kShapes = {{
      {kBase, kBase, kBase},
      {kBase, 4 * kBase, kBase / 2},
      {kBase / 2, kBase, 4 * kBase},
      {4 * kBase, kBase / 2, kBase / 2},
  }};
  const int least_rounds = seconds_ > 0 ? 3 : 1;
  for (const auto& [m, n, k] : kShapes) {
    for (const bool transposed : {false, true}) {
      const auto a = torch::randn({m, k});
      const auto b = transposed ? torch::randn({n, k}).t() : torch::randn({k, n});
      auto out = torch::empty({m, n});
      const double share_ms = 1e3 * seconds_ / (2 * kShapes.size());
      double spent_ms = 0;
      for (int round = 0; round < least_rounds || spent_ms < share_ms; ++round) {
        const double ms = milliseconds([&, a = a] { torch::mm_out(out, a, b); });
        spent_ms += ms;
        const double rate = 2e-6 * static_cast<double>(m * n * k) / ms;
        if (rate > sgemm_gflops_) {
          sgemm_gflops_ = rate;
          sgemm_shape_ = fmt::format("{}x{}x{} {}", m, n, k, transposed ? "nt" : "nn");
        }
      }
    }
  }
}

void MachinePeak::measure_memory() {
  constexpr int64_t kElements = int64_t{1} << 25;  // 128 MiB, beyond every cache
  const auto source = torch::ones({kElements});
  auto target = torch::zeros({kElements});
  const auto bytes = static_cast<double>(kElements * 4);
  for (int round = 0; round < 10; ++round) {
    const double copy = milliseconds([&] { target.copy_(source); });
    const double read = milliseconds([&] { source.sum(); });
    memory_gbs_ = std::max({memory_gbs_, 2e-6 * bytes / copy, 1e-6 * bytes / read});
  }
}

}  // namespace evomoe::bench
