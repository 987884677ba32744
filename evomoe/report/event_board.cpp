#include "evomoe/report/event_board.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "evomoe/base/log.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

/// Keys that say where a line stands, as its step does.
bool is_place(const std::string& key) {
  return key == "epoch" || key == "update" || key == "num_updates";
}

void add_routers(EventSummary& summary, const ordered_json& routers) {
  for (const auto& router : routers) {
    for (const auto& [metric, value] : router.items()) {
      if (metric == "layer" || !value.is_number()) continue;
      summary.scalar(fmt::format("router_{}/layer_{}", metric, router.at("layer").get<int64_t>()),
                     value.get<double>());
    }
  }
}

void add_line(EventSummary& summary, const ordered_json& line) {
  for (const auto& [key, value] : line.items()) {
    if (is_place(key)) continue;
    if (value.is_number()) summary.scalar(key, value.get<double>());
    if (key == "routers") add_routers(summary, value);
    if (!value.is_object()) continue;
    for (const auto& [inner, number] : value.items()) {
      if (number.is_number()) summary.scalar(key + "/" + inner, number.get<double>());
    }
  }
}

/// Loads over their mean; all 0 where there is no load at all.
std::vector<double> over_mean(const std::vector<int64_t>& load_E) {
  const auto sum = std::reduce(load_E.begin(), load_E.end());
  const double mean = static_cast<double>(sum) / static_cast<double>(load_E.size());
  std::vector<double> shares;
  for (const auto load : load_E) shares.push_back(sum == 0 ? 0 : static_cast<double>(load) / mean);
  return shares;
}

void add_loads(EventSummary& summary, const std::vector<LayerLoad>& loads) {
  std::vector<std::vector<double>> rows;
  for (const auto& load : loads) {
    rows.push_back(over_mean(load.load_E));
    summary.histogram(fmt::format("load/layer_{}", load.layer), rows.back());
  }
  if (!rows.empty()) summary.image("load", heat_map(rows));
}

/// The folders of splits.
std::vector<fs::path> folders_in(const fs::path& folder) {
  std::vector<fs::path> folders;
  if (!fs::is_directory(folder)) return folders;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) folders.push_back(entry.path());
  }
  std::ranges::sort(folders);
  return folders;
}

}  // namespace

EventBoard::EventBoard(fs::path folder, std::string config, int64_t resume_update)
    : folder_(std::move(folder)), config_(std::move(config)), resume_update_(resume_update) {
  for (const auto& split : folders_in(folder_)) {
    if (resume_update > 0) {
      cut_event_files(split, resume_update);
    } else if (move_event_files_aside(split) > 0) {
      log().info(
          "{}: the events of an earlier run are now named events.1 ..., which TensorBoard "
          "does not read",
          split.string());
    }
    if (has_foreign_event_files(split)) {
      log().warn(
          "{} holds event files of another program, which TensorBoard shows as parts of "
          "this run; move them away, or name another --tensorboard-logdir",
          split.string());
    }
  }
}

void EventBoard::add(const std::string& split, int64_t update, const ordered_json& line,
                     const std::vector<LayerLoad>& loads) {
  EventSummary summary;
  auto file = files_.find(split);
  if (file == files_.end()) {
    file = files_.emplace(split, EventFile(folder_ / split, resume_update_)).first;
    summary.text("config", "```\n" + config_ + "```\n");
  }
  add_line(summary, line);
  add_loads(summary, loads);
  file->second.write(update, summary);
}

}  // namespace evomoe
