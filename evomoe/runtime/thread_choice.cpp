#include "evomoe/runtime/thread_choice.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace evomoe {
namespace {

constexpr double kWindowSeconds = 0.5;  ///< after which the share of waiting is looked at
constexpr double kTurnSeconds = 0.2;    ///< of one candidate in a trial
constexpr size_t kTurns = 2;            ///< of each candidate
constexpr double kContended = 0.15;     ///< cores that are waited for, on average
constexpr double kFree = 0.7;           ///< idle cores for one thread more
constexpr double kFaster = 1.03;        ///< what is faster than the present number
constexpr double kShortestPause = 4, kLongestPause = 60;  ///< seconds after a trial

}  // namespace

ThreadChoice::ThreadChoice(int threads, Machine machine)
    : most_(threads), threads_(threads), machine_(std::move(machine)) {}

void ThreadChoice::begin() {
  piece_began_ = machine_.now();
  if (window_.seconds > 0 || !candidates_.empty()) return;
  window_began_ = piece_began_;
  waited_before_ = machine_.waited();
  idle_before_ = machine_.idle();
}

std::optional<ThreadChoice::Change> ThreadChoice::end(double work) {
  if (std::exchange(first_piece_, false)) return std::nullopt;
  window_.work += work;
  window_.seconds += machine_.now() - piece_began_;
  if (window_.seconds < (candidates_.empty() ? kWindowSeconds : kTurnSeconds)) return std::nullopt;
  if (!candidates_.empty()) return next_turn();
  look_at_the_machine();
  window_ = {};
  return std::nullopt;
}

void ThreadChoice::look_at_the_machine() {
  const double now = machine_.now(), seconds = now - window_began_;
  const auto waited = machine_.waited();
  // Where waiting cannot be seen, the number of threads is the user's to choose.
  if (now < next_trial_ || !waited || !waited_before_) return;
  const auto idle = machine_.idle();
  // A machine whose idle cores cannot be seen may have one at any time.
  const double free_cores = idle && idle_before_ ? (*idle - *idle_before_) / seconds : 1;
  if (threads_ > 1 && (*waited - *waited_before_) / seconds > kContended) {
    std::vector<int> fewer = {threads_, threads_ - 1};
    for (int threads = threads_ / 2; threads > 0; threads /= 2) fewer.push_back(threads);
    start_trial(std::move(fewer));
  } else if (threads_ < most_ && free_cores > kFree) {
    start_trial({threads_, std::min(most_, threads_ + static_cast<int>(std::ceil(free_cores)))});
  }
}

void ThreadChoice::start_trial(std::vector<int> candidates) {
  candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
  candidates_ = std::move(candidates);
  totals_.assign(candidates_.size(), {});
  turn_ = 0;
  use(candidates_[candidate()]);
}

std::optional<ThreadChoice::Change> ThreadChoice::next_turn() {
  auto& total = totals_[candidate()];
  total.work += window_.work;
  total.seconds += window_.seconds;
  if (++turn_ == kTurns * candidates_.size()) return decide();
  use(candidates_[candidate()]);
  return std::nullopt;
}

std::optional<ThreadChoice::Change> ThreadChoice::decide() {
  size_t best = 0;
  for (size_t i = 1; i < candidates_.size(); ++i) {
    if (totals_[i].speed() > kFaster * totals_[0].speed() &&
        (best == 0 || totals_[i].speed() > totals_[best].speed()))
      best = i;
  }
  const Change change = {candidates_[best], threads_, totals_[best].speed() / totals_[0].speed()};
  candidates_.clear();
  threads_ = change.threads;
  use(threads_);
  const double now = machine_.now();
  const bool changed = change.threads != change.before;
  // Soon after another change the machine is one that changes often.
  const bool settled = changed && (!last_change_ || now - *last_change_ > kLongestPause);
  pause_ = settled ? kShortestPause : std::clamp(2 * pause_, kShortestPause, kLongestPause);
  next_trial_ = now + pause_;
  if (!changed) return std::nullopt;
  last_change_ = now;
  return change;
}

void ThreadChoice::stop_trial() {
  if (candidates_.empty()) return;
  candidates_.clear();
  use(threads_);
}

void ThreadChoice::use(int threads) {
  machine_.use(threads);
  window_ = {};
  first_piece_ = true;
}

}  // namespace evomoe
