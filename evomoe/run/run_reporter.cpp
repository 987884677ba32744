#include "evomoe/run/run_reporter.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "evomoe/base/log.h"
#include "evomoe/routing/router_metrics.h"
#include "evomoe/run/announcements.h"
#include "evomoe/runtime/compute_threads.h"
#include "evomoe/train/training_metrics.h"

namespace evomoe {
namespace {

constexpr int kWallPriority = 1000;  // place of "wall" in a log line

std::vector<LayerLoad> loads_of(const UpdateResult& result) {
  std::vector<LayerLoad> loads;
  for (const auto& [layer, stats] : result.routers)
    loads.push_back({layer, router_metrics(stats).load_E});
  return loads;
}

}  // namespace

RunReporter::RunReporter(const TrainOptions& options, const Trainer& trainer,
                         EpochIterator& batches, const RunTotals& totals, std::optional<RunLog> log,
                         std::optional<EventBoard> board)
    : options_(options),
      trainer_(trainer),
      batches_(batches),
      totals_(totals),
      log_(std::move(log)),
      board_(std::move(board)),
      progress_(options.common.log_format != "none"),
      first_update_(trainer.updates()) {
  if (first_update_ > 0) {
    const auto last = stage_at(options.evolution, first_update_ - 1);
    last_stage_ = stage_name(last.stage);
  }
}

void RunReporter::update(const UpdateResult& result, double seconds) {
  if (result.grown_from > 0) announce_growth(result);
  if (result.spawned || stage_name(result.stage.stage) != last_stage_) announce_stage(result);
  watch_.add(result.routers);
  const auto tokens = static_cast<double>(result.sums.tokens);
  interval_.flops += result.flops;
  interval_.tokens += tokens;
  interval_.seconds += seconds;
  ++interval_.updates;
  if (!result.applied) return;
  metrics_.log([&](MeterGroup& meters) {
    log_update(meters, result, trainer_.criterion(), trainer_.updates(),
               trainer_.next_lr(batches_.epoch()), options_.optimization.clip_norm > 0);
  });
  if (trainer_.updates() % options_.common.log_interval == 0) write_interval(result);
  show_progress(result);
}

void RunReporter::show_progress(const UpdateResult& result) {
  if (!progress_.live()) return;
  const double now = totals_.seconds();
  const auto tokens = static_cast<double>(result.sums.tokens);
  const double speed = tokens / std::max(now - last_update_at_, 1e-9);
  const double loss = result.sums.loss / result.sums.divisor() / std::log(2.0);
  if (result.sums.sample_size > 0)
    shown_loss_ = shown_loss_ == 0 ? loss : 0.95 * shown_loss_ + 0.05 * loss;
  shown_speed_ = last_update_at_ == 0 ? speed : 0.95 * shown_speed_ + 0.05 * speed;
  last_update_at_ = now;
  Progress progress;
  progress.label = std::filesystem::path(options_.checkpoint.save_dir).filename().string();
  progress.update = trainer_.updates();
  const auto& optimization = options_.optimization;
  progress.last_update =
      optimization.budget ? trainer_.lr_schedule().max_update : optimization.max_update;
  progress.loss = shown_loss_;
  progress.tokens_per_second = shown_speed_;
  if (result.stage.schedule.temperature > 0)
    progress.temperature = result.stage.schedule.temperature;
  progress.active_experts_per_token = active_experts(result.routers);
  progress.stage = last_stage_;
  progress.elapsed_seconds = totals_.own_seconds();
  progress.first_update = first_update_;
  progress_.show(progress);
}

void RunReporter::epoch() {
  LogLine line(batches_.epoch());
  metrics_.group("train").write(line);
  line.add("wall", totals_.seconds(), kWallPriority, 0);
  emit("train", line, "train_");
}

void RunReporter::validation(const std::string& tag, LogLine line) {
  totals_.write(line);
  emit(tag, line, tag + "_");
}

void RunReporter::expert_similarity(const std::string& when) {
  if (!log_ && trainer_.ranks().all->size() == 1) return;
  auto layers = nlohmann::ordered_json::array();
  for (const auto& [layer, found] : trainer_.expert_similarity()) {
    layers.push_back(
        {{"layer", layer}, {"mean", found.mean}, {"least", found.least}, {"most", found.most}});
  }
  if (log_ && !layers.empty())
    log_->append("expert_similarity", trainer_.updates(), {{"when", when}, {"layers", layers}});
}

void RunReporter::threads(const ThreadChoice::Change& change) {
  progress_.clear();
  log().info("{}", thread_words(change));
  if (log_) {
    log_->append("threads", trainer_.updates(),
                 {{"threads", change.threads}, {"before", change.before}, {"ratio", change.ratio}});
  }
}

void RunReporter::profile(const TimeSummary& summary, const std::string& trace) {
  progress_.clear();
  log().info("where the time of updates {} to {} went{}", summary.last_update - summary.updates + 1,
             summary.last_update,
             trainer_.device().is_cuda() ? " (the host's: the GPU's is in the trace)" : "");
  fmt::print(stderr, "{}", time_text(summary));
  if (!trace.empty())
    log().info("trace: {}, for https://ui.perfetto.dev or chrome://tracing", trace);
  if (log_) log_->append("profile", trainer_.updates(), time_json(summary));
}

void RunReporter::write_interval(const UpdateResult& result) {
  const double share =
      static_cast<double>(batches_.updates()) / static_cast<double>(batches_.updates_per_epoch());
  const auto epoch = batches_.epoch();
  LogLine line(epoch, round_python(static_cast<double>(epoch - 1) + share, 3));
  auto& group = metrics_.group("train_inner");
  group.write(line);
  line.add("wall", totals_.seconds(), kWallPriority, 0);
  if (!result.routers.empty()) {
    add_router_text(line, result);
    if (result.stage.stage != Stage::kConstant)
      line.add_data("evolution", stage_data(result.stage));
    line.add_data("active_experts", *active_experts(result.routers));
    const auto number = trainer_.updates() / options_.common.log_interval;
    line.add_data("routers", router_data(result.routers, logs_load(result.routers, number)));
  }
  line.add_data("flops_per_token", interval_.flops / std::max(interval_.tokens, 1.0));
  line.add_data("ms_per_update", 1000 * interval_.seconds / interval_.updates);
  totals_.write(line);
  emit("train_inner", line, /*prefix=*/"", loads_of(result));
  group.reset();
  interval_ = {};
  for (const auto& finding : watch_.end_interval()) {
    const auto text =
        fmt::format("update {}: {}", trainer_.updates(), finding_text(finding, options_));
    progress_.clear();
    finding.collapsed ? log().warn("{}", text) : log().info("{}", text);
  }
}

void RunReporter::announce_growth(const UpdateResult& result) {
  progress_.clear();
  const auto update = trainer_.updates();
  log().info("update {}: each MoE layer grew from {} to {} experts, copies with other router rows",
             update, result.grown_from, trainer_.experts());
  if (log_) {
    log_->append("growth", update,
                 {{"experts_before", result.grown_from}, {"experts", trainer_.experts()}});
  }
}

void RunReporter::announce_stage(const UpdateResult& result) {
  const auto layers = trainer_.model().moe_layers().size();
  last_stage_ = stage_name(result.stage.stage);
  if (layers == 0 || (result.stage.stage == Stage::kConstant && !result.spawned)) return;
  progress_.clear();
  const auto update = trainer_.updates();
  log().info("update {}: {}{}", update,
             last_stage_.empty() ? "the shared-expert stage is over"
                                 : "the " + last_stage_ + " stage begins",
             stage_words(options_, result, layers));
  if (log_) {
    auto record = stage_data(result.stage);
    record["spawned"] = result.spawned;
    log_->append("stage", update, record);
  }
  if (result.spawned) expert_similarity("spawn");
}

void RunReporter::emit(const std::string& tag, const LogLine& line, const std::string& prefix,
                       const std::vector<LayerLoad>& loads) {
  const bool is_new = !log_ || log_->append(tag, trainer_.updates(), line.to_numbers(prefix));
  if (board_ && is_new) board_->add(tag, trainer_.updates(), line.to_numbers(), loads);
  const auto& format = options_.common.log_format;
  if (format == "none") return;
  progress_.clear();
  std::string text;
  if (format == "json") {
    text = line.json_text(prefix);
  } else if (const auto shown = line.without_zeros(gate_keys());
             line.update() && format == "simple") {
    text = shown.simple_text(batches_.offset(), batches_.batches_per_epoch());
  } else {
    text = shown.bar_text(tag.starts_with("train") ? "" : validation_heading(tag));
  }
  fmt::print("{} | INFO | {} | {}\n", timestamp(), tag, text);
  std::fflush(stdout);
}

}  // namespace evomoe
