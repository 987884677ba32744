// What a run says: log lines, the live line, the stages of the evolution.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "evomoe/base/log.h"
#include "evomoe/loading/run_folder.h"
#include "evomoe/run/training_run.h"
#include "evomoe/train/training_metrics.h"

namespace evomoe {

void TrainingRun::report_update(const UpdateResult& result) {
  if (result.spawned || stage_name(result.stage.stage) != last_stage_) announce_stage(result);
  watch_.add(result.routers);
  const auto tokens = static_cast<double>(result.sums.tokens);
  flops_ += result.flops;
  tokens_ += tokens;
  inner_flops_ += result.flops;
  inner_tokens_ += tokens;
  if (!result.applied) return;
  metrics_.log([&](MeterGroup& meters) {
    log_update(meters, result, trainer_->criterion(), trainer_->updates(),
               trainer_->next_lr(epoch_), options_.optimization.clip_norm > 0);
  });
  if (trainer_->updates() % options_.common.log_interval == 0) log_train_inner(result);
  show_progress(result);
}

void TrainingRun::show_progress(const UpdateResult& result) {
  if (!progress_.live()) return;
  const double now = elapsed();
  const auto tokens = static_cast<double>(result.sums.tokens);
  const double speed = tokens / std::max(now - last_update_at_, 1e-9);
  const double loss = result.sums.loss / result.sums.divisor() / std::log(2.0);
  if (result.sums.sample_size > 0)
    shown_loss_ = shown_loss_ == 0 ? loss : 0.95 * shown_loss_ + 0.05 * loss;
  shown_speed_ = last_update_at_ == 0 ? speed : 0.95 * shown_speed_ + 0.05 * speed;
  last_update_at_ = now;
  Progress progress;
  progress.label = std::filesystem::path(options_.checkpoint.save_dir).filename().string();
  progress.update = trainer_->updates();
  progress.last_update = options_.optimization.max_update;
  progress.loss = shown_loss_;
  progress.tokens_per_second = shown_speed_;
  if (result.stage.schedule.temperature > 0)
    progress.temperature = result.stage.schedule.temperature;
  progress.active_experts_per_token = active_experts(result.routers);
  progress.stage = last_stage_;
  progress.elapsed_seconds = now - earlier_seconds_;
  progress.first_update = first_update_;
  progress_.show(progress);
}

void TrainingRun::report_threads(const ThreadChoice::Change& change) {
  progress_.clear();
  log().info("{}", thread_words(change));
  if (log_) {
    log_->append("threads", trainer_->updates(),
                 {{"threads", change.threads}, {"before", change.before}, {"ratio", change.ratio}});
  }
}

void TrainingRun::report_profile(const TimeSummary& summary) {
  progress_.clear();
  log().info("where the time of updates {} to {} went{}", summary.last_update - summary.updates + 1,
             summary.last_update,
             device_.is_cuda() ? " (the host's: the GPU's is in the trace)" : "");
  fmt::print(stderr, "{}", time_text(summary));
  if (!profile_->trace().empty()) {
    log().info("trace: {}, for https://ui.perfetto.dev or chrome://tracing",
               profile_->trace().string());
  }
  if (log_) log_->append("profile", trainer_->updates(), time_json(summary));
}

void TrainingRun::log_train_inner(const UpdateResult& result) {
  const double share = static_cast<double>(iterator_->updates()) /
                       static_cast<double>(iterator_->updates_per_epoch());
  LogLine line(epoch_, round_python(static_cast<double>(epoch_ - 1) + share, 3));
  auto& group = metrics_.group("train_inner");
  group.write(line);
  line.add("wall", elapsed(), kWallPriority, 0);
  if (!result.routers.empty()) {
    add_router_text(line, result);
    if (result.stage.stage != Stage::kConstant)
      line.add_data("evolution", stage_data(result.stage));
    line.add_data("active_experts", *active_experts(result.routers));
    line.add_data("routers", router_data(result.routers));
  }
  line.add_data("flops_per_token", inner_flops_ / std::max(inner_tokens_, 1.0));
  line.add_data("ms_per_update", 1000 * inner_seconds_ / inner_updates_);
  line.add_data("elapsed", elapsed());
  line.add_data("flops", flops_);
  line.add_data("train_tokens", tokens_);
  emit("train_inner", line);
  group.reset();
  inner_flops_ = inner_tokens_ = inner_seconds_ = inner_updates_ = 0;
  for (const auto& finding : watch_.end_interval()) {
    const auto text =
        fmt::format("update {}: {}", trainer_->updates(), finding_text(finding, options_));
    progress_.clear();
    finding.collapsed ? log().warn("{}", text) : log().info("{}", text);
  }
}

void TrainingRun::announce_stage(const UpdateResult& result) {
  const bool moe = !trainer_->model().moe_layers().empty();
  last_stage_ = stage_name(result.stage.stage);
  if (!moe || (result.stage.stage == Stage::kConstant && !result.spawned)) return;
  progress_.clear();
  const auto update = trainer_->updates();
  log().info("update {}: {}{}", update,
             last_stage_.empty() ? "the shared-expert stage is over"
                                 : "the " + last_stage_ + " stage begins",
             stage_words(result));
  if (log_) {
    auto record = stage_data(result.stage);
    record["spawned"] = result.spawned;
    log_->append("stage", update, record);
  }
}

std::string TrainingRun::stage_words(const UpdateResult& result) const {
  const auto& flags = options_.evolution;
  std::string words;
  if (result.spawned) {
    words =
        fmt::format("; the shared expert of {} layers became {} experts (--diversify {}, ratio {})",
                    trainer_->model().moe_layers().size(), options_.moe.moe_expert_count,
                    flags.diversify.operation, flags.diversify.ratio);
  }
  switch (result.stage.stage) {
    case Stage::kSharedExpert:
      return fmt::format("; one expert takes every token, for {} updates",
                         flags.shared_expert_updates);
    case Stage::kDenseToSparse:
      words += flags.gumbel_decay_scheduler == "none"
                   ? fmt::format("; temperature {}", flags.max_temperature)
                   : fmt::format("; temperature {} to {} ({})", flags.max_temperature,
                                 flags.min_temperature, flags.gumbel_decay_scheduler);
      return words + fmt::format(", one expert per token from update {} on",
                                 flags.shared_expert_updates +
                                     std::max<int64_t>(1, flags.switch_to_hard_gumbel_softmax) + 1);
    case Stage::kSparse:
      return words +
             fmt::format("; one expert per token, noise {}", result.stage.schedule.noise_scale);
    case Stage::kConstant:
      break;
  }
  return words;
}

void TrainingRun::emit(const std::string& tag, const LogLine& line, const std::string& prefix) {
  if (log_) log_->append(tag, trainer_->updates(), line.to_numbers(prefix));
  const auto& format = options_.common.log_format;
  if (format == "none") return;
  progress_.clear();
  std::string text;
  if (format == "json") {
    text = line.json_text(prefix);
  } else if (const auto shown = line.without_zeros(gate_keys());
             line.update() && format == "simple") {
    text = shown.simple_text(offset_, iterator_->batches_per_epoch());
  } else {
    text = shown.bar_text(tag.starts_with("train") ? "" : validation_heading(tag));
  }
  fmt::print("{} | INFO | {} | {}\n", timestamp(), tag, text);
  std::fflush(stdout);
}

}  // namespace evomoe
