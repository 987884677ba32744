#include "evomoe/run/time_account.h"

namespace evomoe {
namespace {

const std::string kUpdate = "update";
const std::string kForward = "forward";
const std::string kBackward = "backward";

}  // namespace

size_t TimeAccount::part(const Path& path) {
  const auto [place, is_new] = index_.emplace(path, parts_.size());
  if (is_new) parts_.push_back({path});
  return place->second;
}

/// The numbers handed out since the last call belong to the innermost open part.
void TimeAccount::give_numbers(NodeNumber next) {
  auto& given = given_[next.thread];
  if (next.number > given) maker_[{next.thread, given}] = frames_.back().part;
  given = next.number;
}

void TimeAccount::open(const std::string& scope, NodeNumber next, int64_t now) {
  if (frames_.empty()) {
    if (scope != kUpdate) return;
    maker_.clear();
    given_.clear();
    given_[next.thread] = next.number;
    frames_.push_back({part({}), /*node=*/false, now});
    return;
  }
  give_numbers(next);
  auto path = parts_[frames_.back().part].path;
  path.push_back(scope);
  frames_.push_back({part(path), /*node=*/false, now});
}

void TimeAccount::close(NodeNumber next, int64_t now) {
  if (frames_.empty()) return;
  give_numbers(next);
  pop(now);
}

void TimeAccount::open_node(int64_t now) {
  if (frames_.empty()) return;
  frames_.push_back({frames_.back().part, /*node=*/true, now});
}

const TimeAccount::Path& TimeAccount::name_node(NodeNumber made) {
  static const Path nowhere;
  if (frames_.empty()) return nowhere;
  Path path = {kBackward};
  auto maker = maker_.upper_bound(made);
  if (maker != maker_.begin() && (--maker)->first.thread == made.thread) {
    const auto& forward = parts_[maker->second].path;
    const bool pass = !forward.empty() && (forward[0] == kForward || forward[0] == kBackward);
    path.insert(path.end(), forward.begin() + (pass ? 1 : 0), forward.end());
  }
  frames_.back().part = part(path);
  return parts_[frames_.back().part].path;
}

void TimeAccount::name_accumulation() {
  if (!frames_.empty()) frames_.back().part = part({kBackward, "accumulate gradients"});
}

void TimeAccount::close_node(int64_t now) {
  if (!frames_.empty()) pop(now);
}

void TimeAccount::pop(int64_t now) {
  const auto frame = frames_.back();
  frames_.pop_back();
  const auto time = now - frame.began;
  auto& cost = parts_[frame.part];
  cost.time += time - frame.inside;
  ++(frame.node ? cost.nodes : cost.calls);
  if (frames_.empty()) {
    total_ += time;
  } else {
    frames_.back().inside += time;
  }
}

TimeSummary TimeAccount::summary(int64_t updates) const {
  const auto per_update = [&](int64_t sum) {
    return static_cast<double>(sum) / static_cast<double>(updates);
  };
  TimeSummary summary;
  summary.updates = updates;
  summary.ms = per_update(total_) * 1e-6;
  for (const auto& part : parts_) {
    summary.parts.push_back(
        {part.path, per_update(part.time) * 1e-6, per_update(part.calls), per_update(part.nodes)});
  }
  return summary;
}

}  // namespace evomoe
