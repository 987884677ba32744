#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace evomoe {

/// Python's round(value, digits): correctly rounded on the exact binary value, ties to even.
double round_python(double value, int digits);

/// Python's "{:g}".format(value): six significant digits, no trailing zeros, inf and nan in lower
/// case.
std::string format_g(double value);

/// Python's json.dumps(value).
std::string python_json(const nlohmann::ordered_json& value);

/// One line of the log: values with a priority, printed as the reference prints them
/// (docs/reference.md section 8.5). Lines hold `epoch` (an integer), `update` (a number, when
/// training), and then the values, ordered by priority and, within one, by when they were added:
/// as strings where the reference's line is made, as numbers in log.jsonl.
class LogLine {
 public:
  LogLine() = default;
  LogLine(int64_t epoch, std::optional<double> update = std::nullopt);

  /// A value that is rounded to `digits` decimals (none: as it is) and printed with "{:g}". Adding
  /// a key again replaces its value.
  void add(const std::string& key, double value, int priority,
           std::optional<int> digits = std::nullopt);
  /// Structured data (per-layer router metrics), in the JSON form only. Comes after everything
  /// else.
  void add_data(const std::string& key, nlohmann::ordered_json value);
  /// Shown in text formats only.
  void add_text(const std::string& key, double value, int priority, int digits);

  /// The line without those of the keys whose value is 0.
  LogLine without_zeros(const std::vector<std::string>& keys) const;

  /// {"epoch": 1, "update": 0.476, "loss": "9.284", ...}; every key but epoch and update gets
  /// `prefix` (e.g. "valid_").
  nlohmann::ordered_json to_json(const std::string& prefix = "") const;
  /// The same with numbers, {"loss": 9.284, ...}; what is not finite becomes null when printed.
  nlohmann::ordered_json to_numbers(const std::string& prefix = "") const;
  /// The JSON as Python's json.dumps prints it: ", " and ": ".
  std::string json_text(const std::string& prefix = "") const;
  /// epoch 001:    476 / 1000 loss=9.284, ppl=623.44, ... (fairseq's `simple`); `step` of `steps`
  /// batches of the epoch.
  std::string simple_text(int64_t step, int64_t steps) const;
  /// epoch 001 | valid on 'valid' subset | loss 9.284 | ppl 623.44 ... (fairseq's `tqdm`, and the
  /// ends of epochs and validations)
  std::string bar_text(const std::string& heading = "") const;

  std::optional<int64_t> epoch() const { return epoch_; }
  std::optional<double> update() const { return update_; }

 private:
  struct Entry {
    std::string key;
    double value;  // rounded
    int priority;
    bool text_only;
  };
  void put(Entry entry);
  template <typename Show>
  nlohmann::ordered_json json_of(const std::string& prefix, Show show) const;
  std::vector<Entry> sorted() const;

  std::optional<int64_t> epoch_;
  std::optional<double> update_;
  std::vector<Entry> entries_;
  std::vector<std::pair<std::string, nlohmann::ordered_json>> data_;
};

/// fairseq's heading of a validation's bar_text().
std::string validation_heading(const std::string& subset);

}  // namespace evomoe
