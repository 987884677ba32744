#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

namespace evomoe {

/// The load of each expert of each layer at some updates: the frames of a heat map. A frame is left
/// out where keeping it would be more than `most_cells` numbers, so that those that stay are evenly
/// spread over the run; the newest one is always there.
class LoadFrames {
 public:
  explicit LoadFrames(size_t most_cells) : most_cells_(most_cells) {}

  /// The "routers" of a line of training. Nothing happens where they have no "load", or where each
  /// layer has one expert.
  void add(int64_t update, const nlohmann::ordered_json& routers);

  size_t size() const { return frames_.size(); }

  /// {"layers": [1, 3], "updates": [100, ...], "load": [[[104, 96], [0, 200]], ...]}: in hundredths
  /// of an expert's equal share, by frame, layer and expert. 0: not one token; a smaller share than
  /// one hundredth is 1.
  nlohmann::ordered_json json() const;

 private:
  struct Frame {
    int64_t update = 0;
    std::vector<int64_t> layers;
    std::vector<std::vector<uint32_t>> load;  ///< by layer, by expert
    size_t cells() const;
  };

  size_t most_cells_;
  size_t every_ = 1;  ///< one of so many frames is kept
  size_t seen_ = 0;
  bool last_is_extra_ = false;  ///< the last frame is there only as it is the newest
  std::vector<Frame> frames_;
};

}  // namespace evomoe
