#include "evomoe/checkpoint/checkpoint_manager.h"

#include <c10/util/ParallelGuard.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>
#include <tuple>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/checkpoint/durable_file.h"

namespace evomoe {

namespace fs = std::filesystem;

namespace {

constexpr const char* kBest = "checkpoint_best";
constexpr const char* kLast = "checkpoint_last";
/// A thirtieth of a processor that is busy otherwise: a checkpoint takes some steps to be written.
constexpr int kWriterNiceness = 15;

/// The numbers of "checkpoint{a}" (epoch) or "checkpoint_{a}_{b}" (epoch, updates); nothing for any
/// other name.
std::optional<std::vector<int64_t>> numbers_of(std::string_view name) {
  constexpr std::string_view kPrefix = "checkpoint";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  const bool interval = name.starts_with('_');
  std::vector<int64_t> numbers;
  for (int i = 0; i < (interval ? 2 : 1); ++i) {
    if (interval) {
      if (!name.starts_with('_')) return std::nullopt;
      name.remove_prefix(1);
    }
    int64_t number = 0;
    const auto [rest, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error != std::errc() || number < 0) return std::nullopt;
    numbers.push_back(number);
    name.remove_prefix(static_cast<size_t>(rest - name.data()));
  }
  if (!name.empty()) return std::nullopt;
  return numbers;
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

/// Orders checkpoints by age, the newest last: whether it is the one just written (the clock may
/// have been set back since an older one), when it was written, its number.
using Age = std::tuple<bool, fs::file_time_type, int64_t, std::string>;

/// When a checkpoint was written; of one without a manifest, which cannot be loaded: long ago.
fs::file_time_type written_at(const fs::path& checkpoint) {
  std::error_code error;
  const auto time = fs::last_write_time(manifest_path(checkpoint), error);
  return error ? fs::file_time_type::min() : time;
}

/// Checkpoints of the folder that a link leads to.
std::set<std::string> link_targets(const fs::path& folder) {
  std::set<std::string> targets;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_symlink()) targets.insert(fs::read_symlink(entry.path()).filename().string());
  }
  return targets;
}

/// A second name for a checkpoint that shares its files on the disk. Safe, as files of a checkpoint
/// never change after they are written.
void link_files(const fs::path& from, const fs::path& to) {
  const auto temporary = temporary_name(to);
  fs::create_directory(temporary);
  for (const auto& entry : fs::directory_iterator(from)) {
    const auto copy = temporary / entry.path().filename();
    std::error_code unsupported;
    fs::create_hard_link(entry.path(), copy, unsupported);
    if (unsupported) fs::copy_file(entry.path(), copy);
  }
  sync_folder(temporary);
}

/// The metric of a checkpoint, by which it is one of the best.
double value_of(const fs::path& checkpoint) {
  const auto saved = read_state(checkpoint).saved;
  EVOMOE_CHECK(saved && saved->metric, "its manifest does not say it");
  return *saved->metric;
}

/// Makes the calling thread give way to the threads that train: those wait for each other at the
/// end of every matrix product, so that one that is held up holds up all.
void give_way() {
#if defined(__linux__)
  // Of this thread alone, on Linux. Where it is refused the thread runs as it would have.
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kWriterNiceness);
#endif
}

/// Room on the CPU for copies of the tensors. Memory is not touched yet, so it takes no time.
TensorMap room_for(const TensorMap& tensors) {
  TensorMap copies;
  for (const auto& [name, tensor] : tensors) {
    copies[name] =
        tensor.defined() ? torch::empty_like(tensor, tensor.options().device(torch::kCPU)) : tensor;
  }
  return copies;
}

void copy(const TensorMap& from, TensorMap& to) {
  const torch::NoGradGuard no_grad;
  const c10::ParallelGuard one_thread(true);  // training has the others
  for (auto& [name, tensor] : to) {
    if (tensor.defined()) tensor.copy_(from.at(name));
  }
}

}  // namespace

void CheckpointPolicy::validate() const {
  if (best_metric.empty() || best_metric.find('/') != std::string::npos) {
    fail_usage(
        "--best-checkpoint-metric '{}' cannot be part of a file name; give the name of a "
        "validation metric, e.g. loss",
        best_metric);
  }
}

CheckpointManager::CheckpointManager(fs::path save_dir, CheckpointPolicy policy,
                                     std::shared_ptr<Communicator> ranks)
    : save_dir_(std::move(save_dir)), policy_(std::move(policy)), ranks_(std::move(ranks)) {
  policy_.validate();
  if (policy_.no_save || ranks_->rank() > 0) return;
  lock_.emplace(save_dir_);
  recover_folder(save_dir_);
}

CheckpointManager::~CheckpointManager() {
  try {
    finish();
  } catch (const std::exception& error) {
    log().error("the last checkpoint was not written: {}", error.what());
  }
}

bool CheckpointManager::is_at_least_as_good(double value, double than) const {
  return policy_.maximize_best ? value >= than : value <= than;
}

std::string CheckpointManager::best_name(double value) const {
  return fmt::format("checkpoint.best_{}_{:.2f}", policy_.best_metric, value);
}

/// The checkpoint.best_* of this metric, best first.
std::vector<std::pair<double, std::string>> CheckpointManager::best_checkpoints() const {
  const auto prefix = fmt::format("checkpoint.best_{}_", policy_.best_metric);
  std::vector<std::pair<double, std::string>> found;
  for (const auto& name : names_in(save_dir_)) {
    if (!name.starts_with(prefix)) continue;
    double value = 0;
    const char* const end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(name.data() + prefix.size(), end, value);
    if (error != std::errc() || rest != end) continue;
    // The name holds two decimals only; the manifest knows better.
    try {
      value = value_of(save_dir_ / name);
    } catch (const std::exception& unreadable) {
      log().warn("{}: the exact value is unknown ({}); that of its name is taken", name,
                 unreadable.what());
    }
    found.emplace_back(value, name);
  }
  std::sort(found.begin(), found.end(), [&](const auto& a, const auto& b) {
    return a.first == b.first ? a.second < b.second : is_at_least_as_good(a.first, b.first);
  });
  return found;
}

bool CheckpointManager::belongs_to_best(double value) const {
  if (policy_.keep_best_checkpoints <= 0 || policy_.no_best_checkpoints || !std::isfinite(value))
    return false;
  const auto kept = best_checkpoints();
  for (const auto& [other, name] : kept) {
    if (name == best_name(value)) return is_at_least_as_good(value, other);
  }
  return static_cast<int64_t>(kept.size()) < policy_.keep_best_checkpoints ||
         is_at_least_as_good(value, kept.back().first);
}

/// The names that apply. The first is really written: one that no later save reuses where there is
/// one, so that links to it stay true.
std::vector<std::string> CheckpointManager::names_for(const SaveRequest& request,
                                                      bool is_best) const {
  std::vector<std::string> names;
  if (request.end_of_epoch && !policy_.no_epoch_checkpoints) {
    names.push_back(fmt::format("checkpoint{}", request.epoch));
  }
  if (request.interval && !request.end_of_epoch) {
    names.push_back(fmt::format("checkpoint_{}_{}", request.epoch, request.updates));
  }
  if (request.metric && belongs_to_best(*request.metric))
    names.push_back(best_name(*request.metric));
  if (is_best && !policy_.no_best_checkpoints) names.emplace_back(kBest);
  if (!policy_.no_last_checkpoints) names.emplace_back(kLast);
  return names;
}

void CheckpointManager::save(const SaveRequest& request, const Checkpoint& checkpoint) {
  finish();
  const bool is_best = request.metric && !std::isnan(*request.metric) &&
                       (!best_ || is_at_least_as_good(*request.metric, *best_));
  if (is_best) best_ = request.metric;
  if (policy_.no_save) return;
  std::vector<std::string> names;
  if (ranks_->rank() == 0) names = names_for(request, is_best);
  if (names.empty() && ranks_->size() == 1) return;

  Checkpoint content;
  content.state = checkpoint.state;
  content.state.saved = {.moment = {{request.epoch, request.updates, request.end_of_epoch}},
                         .best_metric = policy_.best_metric,
                         .maximize_best = policy_.maximize_best,
                         .metric = request.metric,
                         .best = best_};

  content.model = checkpoint.model;
  content.pieces = checkpoint.pieces;
  const bool without_optimizer =
      policy_.no_save_optimizer_state ||
      (request.training_finished && policy_.no_save_optimizer_state_on_training_finished);
  if (!without_optimizer) content.optimizer = checkpoint.optimizer;
  // With the last one there is no training to give way to, and perhaps little time.
  if (policy_.asynchronous && !request.last) {
    write_in_background(names, std::move(content));
  } else {
    write(names, content);
  }
}

void CheckpointManager::write_in_background(std::vector<std::string> names, Checkpoint content) {
  Checkpoint copies;
  copies.state = std::move(content.state);
  copies.pieces = std::move(content.pieces);
  copies.model = room_for(content.model);
  copies.optimizer = room_for(content.optimizer);
  std::promise<void> copied;
  copied_ = copied.get_future();
  in_flight_ =
      std::async(std::launch::async, &CheckpointManager::copy_and_write, this, std::move(names),
                 std::move(content), std::move(copies), std::move(copied));
}

/// `copied` goes with this call, so that nobody waits for copies that failed.
void CheckpointManager::copy_and_write(const std::vector<std::string>& names, Checkpoint content,
                                       Checkpoint copies, std::promise<void> copied) const {
  copy(content.model, copies.model);
  copy(content.optimizer, copies.optimizer);
  content = Checkpoint();
  copied.set_value();
  give_way();
  write(names, copies);
}

void CheckpointManager::wait_for_copy() {
  if (copied_.valid()) copied_.wait();
}

void CheckpointManager::finish() {
  if (in_flight_.valid()) in_flight_.get();
}

void CheckpointManager::restore(const RunState& state) {
  const auto& saved = state.saved;
  if (saved && saved->best && saved->best_metric == policy_.best_metric &&
      saved->maximize_best == policy_.maximize_best) {
    best_ = saved->best;
  }
}

void CheckpointManager::write(const std::vector<std::string>& names,
                              const Checkpoint& checkpoint) const {
  const auto written = names.empty() ? std::string() : names.front();
  write_checkpoint(names.empty() ? fs::path() : save_dir_ / written, checkpoint, *ranks_);
  if (names.empty()) return;
  for (size_t i = 1; i < names.size(); ++i) {
    const auto path = save_dir_ / names[i];
    try {
      recover_entry(path);
      if (policy_.symlink) {
        // Relative to the link's own folder, so that the run folder can be moved.
        fs::create_directory_symlink(written, temporary_name(path));
      } else {
        link_files(save_dir_ / written, path);
      }
      replace_by_temporary(path);
    } catch (const fs::filesystem_error& error) {
      std::error_code ignored;
      fs::remove_all(temporary_name(path), ignored);
      fail("cannot make {} beside {}: {}", path.string(), written, error.code().message());
    }
  }
  prune(written);
}

/// Deletes what the keep rules no longer keep, links before what they may point to. `written`
/// stays.
void CheckpointManager::prune(const std::string& written) const {
  const auto remove = [&](const std::string& name, const std::set<std::string>& targets) {
    if (name != written && !targets.contains(name)) remove_entry(save_dir_ / name);
  };
  if (policy_.keep_best_checkpoints > 0) {
    const auto kept = best_checkpoints();
    const auto targets = link_targets(save_dir_);
    for (size_t i = static_cast<size_t>(policy_.keep_best_checkpoints); i < kept.size(); ++i) {
      remove(kept[i].second, targets);
    }
  }

  std::vector<Age> epochs, intervals;
  for (const auto& name : names_in(save_dir_)) {
    const auto numbers = numbers_of(name);
    if (!numbers) continue;
    (numbers->size() == 1 ? epochs : intervals)
        .emplace_back(name == written, written_at(save_dir_ / name), numbers->back(), name);
  }
  const auto targets = link_targets(save_dir_);
  const auto keep_newest = [&](auto& checkpoints, int64_t count) {
    if (count <= 0) return;
    std::sort(checkpoints.rbegin(), checkpoints.rend());
    for (size_t i = static_cast<size_t>(count); i < checkpoints.size(); ++i) {
      remove(std::get<std::string>(checkpoints[i]), targets);
    }
  };
  keep_newest(epochs, policy_.keep_last_epochs);
  keep_newest(intervals, policy_.keep_interval_updates);
}

}  // namespace evomoe
