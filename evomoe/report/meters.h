#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/report/log_line.h"

/// fairseq's meters: what is averaged over the updates between two log lines, an epoch, or a validation.
namespace evomoe {

/// Seconds from some fixed point. A test gives its own.
using Clock = std::function<double()>;
Clock steady_clock_seconds();

class Meter {
 public:
  virtual ~Meter() = default;
  virtual void reset() = 0;
  virtual double value() const = 0;  ///< not rounded
  virtual nlohmann::json state() const = 0;
  virtual void load(const nlohmann::json& state) = 0;
};

/// Weighted mean; when every weight was 0, the last value (fairseq: learning rate, number of updates).
class AverageMeter final : public Meter {
 public:
  void update(double value, double weight = 1.0);
  void reset() override;
  double value() const override;
  double weight() const { return count_; }
  nlohmann::json state() const override;
  void load(const nlohmann::json& state) override;

 private:
  std::optional<double> last_;
  double sum_ = 0, count_ = 0;
};

class SumMeter final : public Meter {
 public:
  void update(double value) { sum_ += value; }
  void reset() override { sum_ = 0; }
  double value() const override { return sum_; }
  nlohmann::json state() const override;
  void load(const nlohmann::json& state) override;

 private:
  double sum_ = 0;
};

/// Amount per second since the reset (fairseq's words and updates per second); elapsed() is the wall time.
class TimeMeter final : public Meter {
 public:
  explicit TimeMeter(Clock clock = steady_clock_seconds());
  void update(double amount) { amount_ += amount; }
  void reset() override;
  void resume(double earlier_seconds);  ///< starts again as if it had started so much earlier
  double value() const override;  ///< amount per second
  double elapsed() const;         ///< seconds, those of the earlier runs included
  nlohmann::json state() const override;
  void load(const nlohmann::json& state) override;

 private:
  Clock clock_;
  double start_ = 0, earlier_ = 0, amount_ = 0;
};

/// Time between start() and stop(), summed.
class StopwatchMeter final : public Meter {
 public:
  explicit StopwatchMeter(Clock clock = steady_clock_seconds());
  void start();
  void stop(double amount = 1.0);
  void reset() override;
  double value() const override;  ///< seconds
  double amount() const { return amount_; }
  nlohmann::json state() const override;
  void load(const nlohmann::json& state) override;

 private:
  Clock clock_;
  std::optional<double> started_;
  double sum_ = 0, amount_ = 0;
};

/// The meters of one aggregation, e.g. all since the last log line. A key is made when first used and keeps its priority and rounding.
class MeterGroup {
 public:
  explicit MeterGroup(Clock clock = steady_clock_seconds());
  void scalar(const std::string& key, double value, double weight, int priority, std::optional<int> digits = std::nullopt);
  void sum(const std::string& key, double value, int priority, std::optional<int> digits = std::nullopt);
  void speed(const std::string& key, double amount, int priority, std::optional<int> digits = std::nullopt);
  void start_time(const std::string& key, int priority, std::optional<int> digits = std::nullopt);
  void stop_time(const std::string& key);
  /// A value computed from the others when the line is made (perplexity from loss).
  void derived(const std::string& key, std::function<double(const MeterGroup&)> compute, int priority,
               std::optional<int> digits = std::nullopt);

  bool has(const std::string& key) const;
  double value(const std::string& key) const;  ///< not rounded; Error when there is no such key
  double rounded(const std::string& key) const;
  void reset();
  /// Puts all values into a line. Keys that start with '_' are internal and left out.
  void write(LogLine& line) const;
  nlohmann::json state() const;
  void load(const nlohmann::json& state);  ///< of keys that exist or are plain meters; derived ones are made by their owner

 private:
  struct Entry {
    std::string key, kind;
    int priority;
    std::optional<int> digits;
    std::unique_ptr<Meter> meter;                             // null when derived
    std::function<double(const MeterGroup&)> compute;
  };
  Entry* find(const std::string& key) const;
  Entry& obtain(const std::string& key, const std::string& kind, int priority, std::optional<int> digits);

  Clock clock_;
  std::vector<std::unique_ptr<Entry>> entries_;
};

/// The aggregations that are active at once: what is logged goes to each open one (fairseq's metrics.aggregate), e.g. every update
/// into both "train_inner", which is reset at each log line, and "train", the epoch's.
class Metrics {
 public:
  explicit Metrics(Clock clock = steady_clock_seconds());

  MeterGroup& group(const std::string& name);
  bool has_group(const std::string& name) const { return groups_.count(name) != 0; }
  void open(const std::string& name) { open_.push_back(&group(name)); }
  void close(const std::string& name);
  void reset(const std::string& name) { group(name).reset(); }

  void scalar(const std::string& key, double value, double weight, int priority, std::optional<int> digits = std::nullopt);
  void sum(const std::string& key, double value, int priority, std::optional<int> digits = std::nullopt);
  void speed(const std::string& key, double amount, int priority, std::optional<int> digits = std::nullopt);
  void start_time(const std::string& key, int priority, std::optional<int> digits = std::nullopt);
  void stop_time(const std::string& key);
  void derived(const std::string& key, std::function<double(const MeterGroup&)> compute, int priority,
               std::optional<int> digits = std::nullopt);

  nlohmann::json state() const;
  void load(const nlohmann::json& state);

 private:
  Clock clock_;
  std::map<std::string, std::unique_ptr<MeterGroup>> groups_;
  std::vector<MeterGroup*> open_;
};

/// 2^bits, rounded to two decimals as the reference logs perplexity; infinity on overflow.
double perplexity(double loss_in_bits);

}  // namespace evomoe
