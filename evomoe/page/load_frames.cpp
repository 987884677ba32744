#include "evomoe/page/load_frames.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "evomoe/report/run_log.h"

namespace evomoe {
namespace {

using nlohmann::ordered_json;

constexpr size_t kMostFrames = 200;  // more than a screen has columns for

/// In hundredths of an equal share.
std::vector<uint32_t> shares(const ordered_json& load) {
  std::vector<double> count;
  for (const auto& each : load)
    count.push_back(each.is_number() ? std::max(each.get<double>(), 0.0) : 0);
  const double ideal =
      std::accumulate(count.begin(), count.end(), 0.0) / static_cast<double>(count.size());
  std::vector<uint32_t> result;
  for (const double each : count) {
    const double share = ideal > 0 ? std::min(100 * each / ideal, 1e9) : 0;
    result.push_back(each > 0 ? std::max<uint32_t>(static_cast<uint32_t>(std::lround(share)), 1)
                              : 0);
  }
  return result;
}

}  // namespace

size_t LoadFrames::Frame::cells() const {
  size_t cells = 0;
  for (const auto& layer : load) cells += layer.size();
  return cells;
}

void LoadFrames::add(int64_t update, const ordered_json& routers) {
  Frame frame{update, {}, {}};
  bool several = false;
  for (const auto& router : routers) {
    if (!router.is_object()) continue;
    const auto load = router.find("load");
    if (load == router.end() || !load->is_array() || load->empty()) continue;
    frame.layers.push_back(static_cast<int64_t>(log_number(router, "layer").value_or(0)));
    frame.load.push_back(shares(*load));
    several = several || load->size() > 1;
  }
  if (!several) return;
  if (last_is_extra_) frames_.pop_back();
  last_is_extra_ = seen_++ % every_ != 0;
  frames_.push_back(std::move(frame));
  const auto most = std::clamp<size_t>(most_cells_ / frames_.back().cells(), 2, kMostFrames);
  while (frames_.size() > most) {
    auto last = std::move(frames_.back());  // the newest: it stays, whatever its number is
    frames_.pop_back();
    every_ *= 2;
    size_t kept = 0;
    for (size_t i = 0; i < frames_.size(); i += 2) {
      if (kept != i) frames_[kept] = std::move(frames_[i]);
      ++kept;
    }
    frames_.resize(kept);
    last_is_extra_ = (seen_ - 1) % every_ != 0;
    frames_.push_back(std::move(last));
  }
}

ordered_json LoadFrames::json() const {
  if (frames_.empty()) return nullptr;
  ordered_json json;
  json["layers"] = frames_.back().layers;
  json["updates"] = ordered_json::array();
  json["load"] = ordered_json::array();
  for (const auto& frame : frames_) {
    if (frame.layers != frames_.back().layers) continue;  // of another model
    json["updates"].push_back(frame.update);
    json["load"].push_back(frame.load);
  }
  return json;
}

}  // namespace evomoe
