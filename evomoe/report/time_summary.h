#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace evomoe {

/// Where an update spends time: a part by its scopes from the outside in, such as forward, layer.1,
/// router. Without a scope: the rest of an update, in none of its parts.
struct TimePart {
  std::vector<std::string> path;
  double ms = 0;     ///< per update, without the time of parts inside of it
  double calls = 0;  ///< per update: how often the scope was open
  double nodes = 0;  ///< per update: autograd nodes that ran in the backward pass
};

/// Where the time of some updates went. The parts do not overlap and add up to the whole.
struct TimeSummary {
  int64_t updates = 0;
  int64_t last_update = 0;  ///< completed updates when the last of them was done
  double ms = 0;            ///< of one update by the clock, on average
  std::vector<TimePart> parts;
};

/// Two tables: the parts of an update with their shares, and its layers. A layer is a scope
/// layer.N; its time in the forward and in the backward pass (recomputation included) and, of both
/// together, that of the parts inside of it.
std::string time_text(const TimeSummary& summary);

/// {"updates", "ms", "parts": [{"part": "forward/layer.1/router", "ms", "calls", "nodes"}, ...]}
nlohmann::ordered_json time_json(const TimeSummary& summary);

}  // namespace evomoe
