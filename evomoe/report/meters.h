#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/base/clock.h"
#include "evomoe/report/log_line.h"

/// fairseq's meters: what is averaged over the updates between two log lines, an epoch, or a
/// validation.
namespace evomoe {

class Meter {
 public:
  virtual ~Meter() = default;
  virtual void reset() = 0;
  virtual double value() const = 0;             ///< not rounded; NaN when nothing was recorded
  virtual bool empty() const { return false; }  ///< nothing was recorded since the reset
  virtual const char* kind() const = 0;
  virtual nlohmann::json state() const = 0;
  virtual void load(const nlohmann::json& state) = 0;
};

/// Weighted mean; when every weight was 0, the last value (fairseq: learning rate, number of
/// updates).
class AverageMeter final : public Meter {
 public:
  void update(double value, double weight = 1.0);
  void reset() override;
  double value() const override;
  bool empty() const override { return !last_; }
  const char* kind() const override { return "average"; }
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
  const char* kind() const override { return "sum"; }
  nlohmann::json state() const override;
  void load(const nlohmann::json& state) override;

 private:
  double sum_ = 0;
};

/// Amount per second since the reset (fairseq's words and updates per second); elapsed() is the
/// wall time.
class TimeMeter final : public Meter {
 public:
  explicit TimeMeter(Clock clock = steady_clock_seconds());
  void update(double amount) { amount_ += amount; }
  void reset() override;
  double value() const override;  ///< amount per second
  bool empty() const override { return !(elapsed() > 0); }
  double elapsed() const;  ///< seconds, those of the earlier runs included
  const char* kind() const override { return "time"; }
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
  void stop();
  void reset() override;
  double value() const override;  ///< seconds
  const char* kind() const override { return "stopwatch"; }
  nlohmann::json state() const override;
  void load(const nlohmann::json& state) override;

 private:
  Clock clock_;
  std::optional<double> started_;
  double sum_ = 0;
};

/// Meters that are reset together, e.g. all since the last log line. A key is made when first used
/// and keeps its priority and rounding; using it as another kind of meter is an Error.
class MeterGroup {
 public:
  explicit MeterGroup(Clock clock = steady_clock_seconds());
  /// No value (a mean of nothing): the key is made and keeps what it has.
  void scalar(const std::string& key, std::optional<double> value, double weight, int priority,
              std::optional<int> digits = std::nullopt);
  void sum(const std::string& key, double value, int priority,
           std::optional<int> digits = std::nullopt);
  /// Amount per second. The first call only starts the time, as in fairseq: nothing is known about
  /// the time before it.
  void speed(const std::string& key, double amount, int priority,
             std::optional<int> digits = std::nullopt);
  void start_time(const std::string& key, int priority, std::optional<int> digits = std::nullopt);
  void stop_time(const std::string& key);
  /// A value computed from that of the meter `from` when the line is made (perplexity from loss);
  /// none when that has none.
  void derived(const std::string& key, const std::string& from,
               std::function<double(double)> compute, int priority,
               std::optional<int> digits = std::nullopt);

  bool has(const std::string& key) const;
  bool is_known(const std::string& key) const;  ///< and has a value
  double value(const std::string& key) const;   ///< not rounded; Error when there is no such key
  double rounded(const std::string& key) const;
  std::vector<std::string> keys() const;
  void reset();
  /// Puts all values into a line, but for empty meters, what is derived from them, and keys that
  /// start with '_', which are internal.
  void write(LogLine& line) const;
  nlohmann::json state() const;
  void load(
      const nlohmann::json& state);  ///< replaces the meters; derived values, which are code, stay

 private:
  struct Entry {
    std::string key;
    int priority;
    std::optional<int> digits;
    std::unique_ptr<Meter> meter;  // null when derived
    std::string from;
    std::function<double(double)> compute;
  };
  Entry* find(const std::string& key) const;
  bool is_known(const Entry& entry) const;
  template <typename T>
  T& obtain(const std::string& key, int priority, std::optional<int> digits, bool* made = nullptr);

  Clock clock_;
  std::vector<std::unique_ptr<Entry>> entries_;
};

/// Named groups of meters, of which several can be open at once: an update is logged into both
/// "train_inner", which is reset at each log line, and "train", the epoch's (fairseq's
/// metrics.aggregate).
class Metrics {
 public:
  explicit Metrics(Clock clock = steady_clock_seconds());

  /// Keeps a group open for as long as it lives.
  class Aggregation {
   public:
    ~Aggregation() { metrics_.open_.pop_back(); }
    Aggregation(const Aggregation&) = delete;
    Aggregation& operator=(const Aggregation&) = delete;
    MeterGroup& group() { return *metrics_.open_.back().group; }

   private:
    friend class Metrics;
    explicit Aggregation(Metrics& metrics) : metrics_(metrics) {}
    Metrics& metrics_;
  };

  /// Opens a group, made when it is new. `isolated`: the groups that are open already see nothing
  /// until it is closed (a validation in the midst of an epoch).
  [[nodiscard]] Aggregation aggregate(const std::string& name, bool isolated = false);
  /// Calls `write` for each group that is open and not hidden by an isolated one.
  void log(const std::function<void(MeterGroup&)>& write);
  MeterGroup& group(const std::string& name);

  nlohmann::json state() const;
  void load(const nlohmann::json& state);

 private:
  struct Frame {
    MeterGroup* group;
    bool isolated;
  };
  Clock clock_;
  std::map<std::string, std::unique_ptr<MeterGroup>> groups_;
  std::vector<Frame> open_;
};

/// 2^bits, rounded to two decimals as the reference logs perplexity; infinity on overflow.
double perplexity(double loss_in_bits);

}  // namespace evomoe
