#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evomoe/report/event_file.h"

namespace evomoe {

/// Assignments per expert of a layer.
struct LayerLoad {
  int64_t layer = 0;
  std::vector<int64_t> load_E;
};

/// What TensorBoard shows of a run (--tensorboard-logdir), in fairseq's layout: a folder for each
/// split (train_inner, train, valid ...), and in it a scalar for each number of the split's log
/// lines, by the number of updates.
class EventBoard {
 public:
  /// Goes on after `resume_update` updates: what the folder holds of later ones is dropped. 0: the
  /// run begins, and events of an earlier one are moved aside. `config` (YAML) is shown as text
  /// with the first values of each split. Error: events in the folder are
  /// damaged.
  EventBoard(std::filesystem::path folder, std::string config, int64_t resume_update);

  /// A line of the log. Its numbers become scalars; those of a layer's router are
  /// router_METRIC/layer_N. `loads` become a histogram of each layer, load/layer_N, of the loads of
  /// its experts over their mean, and a picture, load: a row for each layer, a square for each
  /// expert (load_colour()).
  void add(const std::string& split, int64_t update, const nlohmann::ordered_json& line,
           const std::vector<LayerLoad>& loads = {});

 private:
  std::filesystem::path folder_;
  std::string config_;
  int64_t resume_update_;
  std::map<std::string, EventFile> files_;  ///< by split
};

}  // namespace evomoe
