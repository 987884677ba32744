#include "evomoe/report/meters.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

using nlohmann::json;

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

/// A stored number; what is not finite is stored as null.
double number(const json& stored) { return stored.is_null() ? kNothing : stored.get<double>(); }

std::unique_ptr<Meter> make_meter(const std::string& kind, const Clock& clock) {
  if (kind == "average") return std::make_unique<AverageMeter>();
  if (kind == "sum") return std::make_unique<SumMeter>();
  if (kind == "time") return std::make_unique<TimeMeter>(clock);
  if (kind == "stopwatch") return std::make_unique<StopwatchMeter>(clock);
  fail(
      "stored meters: '{}' is not a kind of meter; the checkpoint is from another version of "
      "evomoe, or damaged "
      "(--reset-meters leaves them out)",
      kind);
}

template <typename T>
std::unique_ptr<T> new_meter(const Clock& clock) {
  if constexpr (std::is_constructible_v<T, Clock>) {
    return std::make_unique<T>(clock);
  } else {
    return std::make_unique<T>();
  }
}

}  // namespace

void AverageMeter::update(double value, double weight) {
  last_ = value;
  if (weight <= 0) return;
  sum_ += value * weight;
  count_ += weight;
}

void AverageMeter::reset() { *this = AverageMeter(); }

double AverageMeter::value() const { return count_ > 0 ? sum_ / count_ : last_.value_or(kNothing); }

json AverageMeter::state() const {
  return {{"last", last_ ? json(*last_) : json()}, {"sum", sum_}, {"count", count_}};
}

void AverageMeter::load(const json& state) {
  last_.reset();
  if (!state.at("last").is_null()) last_ = state.at("last").get<double>();
  sum_ = number(state.at("sum"));
  count_ = state.at("count").get<double>();
}

json SumMeter::state() const { return {{"sum", sum_}}; }

void SumMeter::load(const json& state) { sum_ = number(state.at("sum")); }

TimeMeter::TimeMeter(Clock clock) : clock_(std::move(clock)), start_(clock_()) {}

void TimeMeter::reset() {
  start_ = clock_();
  earlier_ = 0;
  amount_ = 0;
}

double TimeMeter::elapsed() const { return earlier_ + clock_() - start_; }

double TimeMeter::value() const {
  const double seconds = elapsed();
  return seconds > 0 ? amount_ / seconds : kNothing;
}

json TimeMeter::state() const { return {{"seconds", elapsed()}, {"amount", amount_}}; }

void TimeMeter::load(const json& state) {
  start_ = clock_();
  earlier_ = state.at("seconds").get<double>();
  amount_ = state.at("amount").get<double>();
}

StopwatchMeter::StopwatchMeter(Clock clock) : clock_(std::move(clock)) {}

void StopwatchMeter::start() { started_ = clock_(); }

void StopwatchMeter::stop() {
  if (!started_) return;
  sum_ += clock_() - *started_;
  started_.reset();
}

void StopwatchMeter::reset() {
  sum_ = 0;
  if (started_) start();  // what runs now goes on, from zero
}

double StopwatchMeter::value() const { return sum_; }

json StopwatchMeter::state() const { return {{"sum", sum_}}; }

void StopwatchMeter::load(const json& state) {
  sum_ = number(state.at("sum"));
  started_.reset();
}

MeterGroup::MeterGroup(Clock clock) : clock_(std::move(clock)) {}

MeterGroup::Entry* MeterGroup::find(const std::string& key) const {
  for (const auto& entry : entries_) {
    if (entry->key == key) return entry.get();
  }
  return nullptr;
}

template <typename T>
T& MeterGroup::obtain(const std::string& key, int priority, std::optional<int> digits, bool* made) {
  Entry* entry = find(key);
  if (made != nullptr) *made = entry == nullptr;
  if (entry == nullptr) {
    entries_.push_back(
        std::make_unique<Entry>(Entry{key, priority, digits, new_meter<T>(clock_), "", nullptr}));
    entry = entries_.back().get();
  }
  auto* meter = dynamic_cast<T*>(entry->meter.get());
  EVOMOE_CHECK(meter != nullptr,
               "the metric '{}' is used as two kinds of meter; give one of them another key", key);
  return *meter;
}

void MeterGroup::scalar(const std::string& key, std::optional<double> value, double weight,
                        int priority, std::optional<int> digits) {
  auto& meter = obtain<AverageMeter>(key, priority, digits);
  if (value) meter.update(*value, weight);
}

void MeterGroup::sum(const std::string& key, double value, int priority,
                     std::optional<int> digits) {
  obtain<SumMeter>(key, priority, digits).update(value);
}

void MeterGroup::speed(const std::string& key, double amount, int priority,
                       std::optional<int> digits) {
  bool made = false;
  auto& meter = obtain<TimeMeter>(key, priority, digits, &made);
  if (!made) meter.update(amount);
}

void MeterGroup::start_time(const std::string& key, int priority, std::optional<int> digits) {
  obtain<StopwatchMeter>(key, priority, digits).start();
}

void MeterGroup::stop_time(const std::string& key) {
  EVOMOE_CHECK(has(key), "the time '{}' is stopped before it was started", key);
  obtain<StopwatchMeter>(key, 0, std::nullopt).stop();
}

void MeterGroup::derived(const std::string& key, const std::string& from,
                         std::function<double(double)> compute, int priority,
                         std::optional<int> digits) {
  if (Entry* entry = find(key)) {
    EVOMOE_CHECK(entry->meter == nullptr,
                 "the metric '{}' is used as two kinds of meter; give one of them another key",
                 key);
    entry->from = from;
    entry->compute = std::move(compute);
    return;
  }
  entries_.push_back(
      std::make_unique<Entry>(Entry{key, priority, digits, nullptr, from, std::move(compute)}));
}

bool MeterGroup::has(const std::string& key) const { return find(key) != nullptr; }

bool MeterGroup::is_known(const std::string& key) const {
  const Entry* entry = find(key);
  return entry != nullptr && is_known(*entry);
}

double MeterGroup::value(const std::string& key) const {
  const Entry* entry = find(key);
  EVOMOE_CHECK(entry != nullptr,
               "there is no metric '{}'; check the name (--best-checkpoint-metric names one too)",
               key);
  return entry->meter ? entry->meter->value() : entry->compute(value(entry->from));
}

double MeterGroup::rounded(const std::string& key) const {
  const double exact = value(key);
  const Entry* entry = find(key);
  return entry->digits ? round_python(exact, *entry->digits) : exact;
}

std::vector<std::string> MeterGroup::keys() const {
  std::vector<std::string> keys;
  for (const auto& entry : entries_) keys.push_back(entry->key);
  return keys;
}

void MeterGroup::reset() {
  for (const auto& entry : entries_) {
    if (entry->meter) entry->meter->reset();
  }
}

/// What is derived from a meter without a value has none either.
bool MeterGroup::is_known(const Entry& entry) const {
  return entry.meter ? !entry.meter->empty() : is_known(entry.from);
}

void MeterGroup::write(LogLine& line) const {
  for (const auto& entry : entries_) {
    if (entry->key[0] == '_' || !is_known(*entry)) continue;
    line.add(entry->key, value(entry->key), entry->priority, entry->digits);
  }
}

json MeterGroup::state() const {
  json state = json::array();
  for (const auto& entry : entries_) {
    if (!entry->meter) continue;
    state.push_back({{"key", entry->key},
                     {"kind", entry->meter->kind()},
                     {"priority", entry->priority},
                     {"digits", entry->digits ? json(*entry->digits) : json()},
                     {"state", entry->meter->state()}});
  }
  return state;
}

void MeterGroup::load(const json& state) {
  std::vector<std::unique_ptr<Entry>> loaded;
  for (const auto& stored : state) {
    auto meter = make_meter(stored.at("kind").get<std::string>(), clock_);
    meter->load(stored.at("state"));
    std::optional<int> digits;
    if (!stored.at("digits").is_null()) digits = stored.at("digits").get<int>();
    loaded.push_back(std::make_unique<Entry>(Entry{stored.at("key").get<std::string>(),
                                                   stored.at("priority").get<int>(), digits,
                                                   std::move(meter), "", nullptr}));
  }
  for (auto& entry : entries_) {
    if (!entry->meter) loaded.push_back(std::move(entry));
  }
  entries_ = std::move(loaded);
}

Metrics::Metrics(Clock clock) : clock_(std::move(clock)) {}

MeterGroup& Metrics::group(const std::string& name) {
  auto& group = groups_[name];
  if (!group) group = std::make_unique<MeterGroup>(clock_);
  return *group;
}

Metrics::Aggregation Metrics::aggregate(const std::string& name, bool isolated) {
  open_.push_back({&group(name), isolated});
  return Aggregation(*this);
}

void Metrics::log(const std::function<void(MeterGroup&)>& write) {
  for (auto frame = open_.rbegin(); frame != open_.rend(); ++frame) {
    const bool again = std::any_of(open_.rbegin(), frame,
                                   [&](const Frame& inner) { return inner.group == frame->group; });
    if (!again) write(*frame->group);
    if (frame->isolated) return;
  }
}

json Metrics::state() const {
  json state = json::object();
  for (const auto& [name, group] : groups_) state[name] = group->state();
  return state;
}

void Metrics::load(const json& state) {
  for (const auto& [name, stored] : state.items()) group(name).load(stored);
}

double perplexity(double loss_in_bits) { return round_python(std::pow(2.0, loss_in_bits), 2); }

}  // namespace evomoe
