#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evomoe/bench/machine_peak.h"
#include "evomoe/bench/timing.h"

namespace evomoe::bench {

/// A column of the table for a person: a key of the result lines and its decimals.
struct Column {
  std::string key;
  std::string heading;
  int decimals = 0;
};

/// What a benchmark measured: one line of JSON per result on stdout at once, and a table of all of
/// them on stderr at the end.
class Results {
 public:
  explicit Results(std::vector<Column> columns) : columns_(std::move(columns)) {}

  void add(nlohmann::ordered_json line);
  void print_table() const;
  const std::vector<nlohmann::ordered_json>& lines() const { return lines_; }

 private:
  std::vector<Column> columns_;
  std::vector<nlohmann::ordered_json> lines_;
};

/// One result, from which come the keys that every line has.
struct Result {
  std::string impl;
  std::string case_label;
  Timing timing;
  double tokens = 0;     ///< of a repeat
  double gflop = 0;      ///< strictly needed in a repeat; 0: nothing to be compared with the peak
  double peak_mib = -1;  ///< negative: not measured
  int64_t faults = 0;    ///< minor page faults of all repeats
  nlohmann::ordered_json checksum;
};

/// The keys impl, case, ms_median, ms_min, gflops, sgemm_fraction, tokens_per_s, peak_mem_mb,
/// threads, device, dtype and checksum, by which programs are compared; and behind them how the
/// result came about.
nlohmann::ordered_json result_line(const Result& result, const MachinePeak& peak);

/// `value` with so many decimals: enough to compare, without digits that mean nothing.
double rounded(double value, int decimals);
/// `value` with nine significant digits, as checksums are written.
double significant(double value);

}  // namespace evomoe::bench
