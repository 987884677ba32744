#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "evomoe/routing/routing.h"
#include "evomoe/train/options.h"

namespace evomoe {

/// What is to be said of the router of a layer.
struct RouterFinding {
  int64_t layer = 0;
  bool collapsed = false;  ///< false: it has recovered
  int64_t experts = 0;
  int64_t dead = 0;          ///< experts without a token
  int64_t busiest = 0;       ///< the expert with the most assignments
  double busiest_share = 0;  ///< its share of them
};

/// Sees when routers collapse. A layer has collapsed when in each of kIntervals log intervals in a
/// row more than half of its experts got no token, or one expert more than half of the assignments
/// (of two or three experts: more than 1.8 times its equal share). Where most tokens use most
/// experts, as in the shared-expert stage and the dense one, neither can be.
class RouterWatch {
 public:
  static constexpr int kIntervals = 3;

  /// Counts the loads of an update.
  void add(const std::vector<std::pair<int64_t, RouterStats>>& routers);
  /// Ends a log interval. Each layer that has collapsed is told of once, and again when it did so
  /// after a recovery; the first interval that is well is a recovery.
  std::vector<RouterFinding> end_interval();

 private:
  struct Layer {
    int64_t number = 0;
    std::vector<int64_t> load_E;  // of the interval
    int bad_intervals = 0;
  };
  std::vector<Layer> layers_;
};

/// A sentence about it with what helps, for runs with these options.
std::string finding_text(const RouterFinding& finding, const TrainOptions& options);

}  // namespace evomoe
