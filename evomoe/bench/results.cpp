#include "evomoe/bench/results.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdio>

#include "evomoe/base/json_text.h"
#include "evomoe/report/table.h"

namespace evomoe::bench {
namespace {

std::string cell(const nlohmann::ordered_json& line, const Column& column) {
  const auto found = line.find(column.key);
  if (found == line.end() || found->is_null()) return "-";
  if (found->is_string()) return found->get<std::string>();
  if (found->is_boolean()) return found->get<bool>() ? "yes" : "NO";
  return fmt::format("{:.{}f}", found->get<double>(), column.decimals);
}

}  // namespace

void Results::add(nlohmann::ordered_json line) {
  fmt::print("{}\n", json_text(line));
  std::fflush(stdout);
  lines_.push_back(std::move(line));
}

void Results::print_table() const {
  std::vector<std::string> headings;
  for (const auto& column : columns_) headings.push_back(column.heading);
  Table table(headings);
  for (const auto& line : lines_) {
    std::vector<std::string> cells;
    for (const auto& column : columns_) cells.push_back(cell(line, column));
    table.add_row(std::move(cells));
  }
  fmt::print(stderr, "\n{}", table.text());
}

nlohmann::ordered_json result_line(const Result& result, const MachinePeak& peak) {
  const auto& timing = result.timing;
  const double median = timing.median();
  const auto repeats = static_cast<int64_t>(timing.samples_ms.size());
  nlohmann::ordered_json line;
  line["impl"] = result.impl;
  line["case"] = result.case_label;
  line["ms_median"] = rounded(median, 4);
  line["ms_mean"] = rounded(timing.mean(), 4);
  line["ms_min"] = rounded(timing.minimum(), 4);
  const double rate = result.gflop / median * 1e3;
  line["gflops"] = result.gflop > 0 ? nlohmann::ordered_json(rounded(rate, 2)) : nullptr;
  line["sgemm_fraction"] =
      result.gflop > 0 ? nlohmann::ordered_json(rounded(rate / peak.sgemm_gflops(), 4)) : nullptr;
  line["tokens_per_s"] = rounded(1e3 * result.tokens / median, 1);
  line["peak_mem_mb"] =
      result.peak_mib >= 0 ? nlohmann::ordered_json(rounded(result.peak_mib, 1)) : nullptr;
  line["threads"] = at::get_num_threads();
  line["device"] = "cpu";
  line["dtype"] = "fp32";
  line["checksum"] = result.checksum;
  line["torch"] = TORCH_VERSION;
  line["instructions"] = at::get_cpu_capability();
  line["ms_max"] = rounded(timing.maximum(), 4);
  line["repeats"] = repeats;
  line["sgemm_gflops"] = rounded(peak.sgemm_gflops(), 2);
  line["sgemm_shape"] = peak.sgemm_shape();
  line["memory_gbs"] = rounded(peak.memory_gbs(), 2);
  line["minor_faults"] = result.faults / repeats;
  if (result.gflop > 0) line["useful_gflop"] = rounded(result.gflop, 4);
  return line;
}

double rounded(double value, int decimals) {
  const double unit = std::pow(10.0, decimals);
  return std::round(value * unit) / unit;
}

double significant(double value) {
  return value == 0 ? 0 : std::stod(fmt::format("{:.9g}", value));
}

}  // namespace evomoe::bench
