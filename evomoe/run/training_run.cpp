#include "evomoe/run/training_run.h"

#include <ATen/record_function.h>

#include "evomoe/base/log.h"
#include "evomoe/config/option_table.h"
#include "evomoe/loading/resume.h"
#include "evomoe/run/signals.h"
#include "evomoe/runtime/resident_memory.h"
#include "evomoe/train/settings.h"
#include "evomoe/train/task.h"
#include "evomoe/train/training_metrics.h"
#include "evomoe/train/validate_options.h"
#include "evomoe/train/validation.h"

namespace evomoe {
namespace {

constexpr int kTrainWall = 800;  // place in a log line

}  // namespace

TrainingRun::TrainingRun(const TrainOptions& options)
    : options_(options),
      device_(torch::kCPU),
      threads_(options.common.threads, [this](const auto& change) { report_threads(change); }),
      progress_(options.common.log_format != "none") {
  validate_options(options_);
  check_settings(options_);
  check_best_metric(options_);
  device_ = use_device(options_.common);
  open_data();
  check_bleu_lengths();
  plan_memory();
  open_folder();
  restore();
  log_memory_plan();
  open_profile();
  announce();
}

TrainingRun::~TrainingRun() = default;

void TrainingRun::check_bleu_lengths() const {
  if (!bleu_) return;
  for (const auto& [subset, dataset] : valid_sets_) {
    bleu_->check_lengths(dataset, iterator_options(options_, /*training=*/false),
                         options_.dataset.max_valid_steps.value_or(-1));
  }
}

int TrainingRun::run() {
  const SignalWatch signals;
  trainer_->before_change([this] { checkpoints_->wait_for_copy(); });
  Stop stop = Stop::kNo;
  try {
    stop = train();
    // An end that no interval asked to save: --max-epoch, --stop-min-lr.
    if (saved_updates_ != trainer_->updates())
      save(/*end_of_epoch=*/false, /*interval=*/false, {}, /*last=*/true);
    checkpoints_->finish();
  } catch (const DivergenceError&) {
    throw;  // what is broken is not saved
  } catch (...) {
    save_after_error();
    throw;
  }
  if (profile_) {
    if (const auto summary = profile_->finish()) report_profile(*summary);
  }
  report_memory();
  if (stop == Stop::kSignal) {
    log().info("stopped by signal {} after {} updates; {}", SignalWatch::received(),
               trainer_->updates(), how_to_go_on());
    return 128 + SignalWatch::received();
  }
  log().info("done after {} updates in {}", trainer_->updates(), duration_text(elapsed()));
  return 0;
}

TrainingRun::Stop TrainingRun::train() {
  const auto train_inner = metrics_.aggregate("train_inner");
  forget_peak_resident_memory();  // loading a checkpoint needs its own
  started_ = steady_clock_seconds()();
  const auto& optimization = options_.optimization;
  // A run that is already complete stays as it is.
  const auto patience = options_.checkpoint.patience;
  Stop stop = reached_limit()                              ? Stop::kLimit
              : patience > 0 && patience_used_ >= patience ? Stop::kPatience
                                                           : Stop::kNo;
  while (stop == Stop::kNo && (optimization.max_epoch == 0 || epoch_ <= optimization.max_epoch)) {
    if (lr_came_down(epoch_)) {
      log().info("stops: the learning rate has come down to --stop-min-lr {}",
                 optimization.stop_min_lr);
      break;
    }
    iterator_->start_epoch(epoch_, offset_);
    stop = train_epoch();
    if (stop != Stop::kNo) break;
    ++epoch_;
    offset_ = 0;
  }
  progress_.clear();
  return stop;
}

std::string TrainingRun::how_to_go_on() const {
  const auto& flags = options_.checkpoint;
  if (flags.no_save) return "nothing was saved (--no-save)";
  std::string without;
  const auto leave_out = [&](bool given, const std::string& flag) {
    if (given) without += (without.empty() ? " without " : " and ") + flag;
  };
  leave_out(flags.restore_file != CheckpointOptions().restore_file, "--restore-file");
  leave_out(flags.reset_optimizer, "--reset-optimizer");
  leave_out(flags.reset_dataloader, "--reset-dataloader");
  leave_out(flags.reset_meters, "--reset-meters");
  leave_out(options_.resources.profile.has_value(), "--profile");
  if (flags.no_last_checkpoints) without += " with --restore-file and the name of its checkpoint";
  return "run the same command again" + without + " to go on";
}

void TrainingRun::save_after_error() {
  try {
    trainer_->check_parameters();
    checkpoints_->finish();
    if (saved_updates_ != trainer_->updates()) save(/*end_of_epoch=*/false, /*interval=*/false, {});
    checkpoints_->finish();
  } catch (const std::exception& error) {
    log().warn("the updates since the last checkpoint could not be saved: {}", error.what());
  }
}

UpdateResult TrainingRun::next_update() {
  RECORD_USER_SCOPE("update");
  const double begin = steady_clock_seconds()();
  const auto micro_batches = [&] {
    RECORD_USER_SCOPE("data wait");
    return *iterator_->next_update();
  }();
  metrics_.log([](MeterGroup& meters) { meters.start_time("train_wall", kTrainWall, 0); });
  threads_.begin();
  auto result = trainer_->update(micro_batches, epoch_);
  threads_.end(result.flops);
  metrics_.log([](MeterGroup& meters) { meters.stop_time("train_wall"); });
  inner_seconds_ += steady_clock_seconds()() - begin;
  ++inner_updates_;
  return result;
}

TrainingRun::Stop TrainingRun::train_epoch() {
  if (offset_ == 0) metrics_.group("train").reset();
  const auto train = metrics_.aggregate("train");
  Stop stop = Stop::kNo;
  while (!iterator_->finished()) {
    if (profile_) profile_->before_update();
    const auto result = next_update();
    offset_ = iterator_->offset();
    report_update(result);
    if (profile_) {
      if (const auto summary = profile_->after_update(trainer_->updates()))
        report_profile(*summary);
    }
    stop = validate_and_save(iterator_->finished());
    if (stop != Stop::kNo) break;
  }
  if (stop != Stop::kSignal) {
    LogLine line(epoch_);
    metrics_.group("train").write(line);
    line.add("wall", elapsed(), kWallPriority, 0);
    emit("train", line, "train_");
  }
  return stop;
}

bool TrainingRun::reached_limit() const {
  const auto& optimization = options_.optimization;
  if (optimization.max_update > 0 && trainer_->updates() >= optimization.max_update) return true;
  return optimization.stop_time_hours > 0 && started_ > 0 &&
         elapsed() > optimization.stop_time_hours * 3600;
}

bool TrainingRun::lr_came_down(int64_t epoch) const {
  const auto& optimization = options_.optimization;
  return trainer_->updates() >= optimization.effective_warmup_updates() &&
         trainer_->next_lr(epoch) <= optimization.stop_min_lr;
}

bool TrainingRun::is_last(int64_t epoch) const {
  const auto max_epoch = options_.optimization.max_epoch;
  return (max_epoch > 0 && epoch >= max_epoch) || lr_came_down(epoch + 1);
}

TrainingRun::Stop TrainingRun::validate_and_save(bool end_of_epoch) {
  const auto& dataset = options_.dataset;
  const auto& flags = options_.checkpoint;
  const auto updates = trainer_->updates();
  Stop stop = reached_limit() ? Stop::kLimit : Stop::kNo;
  const bool interval =
      flags.save_interval_updates > 0 && updates > 0 && updates % flags.save_interval_updates == 0;
  const bool save_epoch = end_of_epoch && epoch_ % flags.save_interval == 0;
  const bool do_save =
      save_epoch || stop == Stop::kLimit || (interval && updates >= dataset.validate_after_updates);
  const bool do_validate =
      !dataset.disable_validation && SignalWatch::received() == 0 &&
      ((!end_of_epoch && do_save) || (end_of_epoch && epoch_ % dataset.validate_interval == 0) ||
       stop == Stop::kLimit ||
       (dataset.validate_interval_updates > 0 && updates > 0 &&
        updates >= dataset.validate_after_updates &&
        updates % dataset.validate_interval_updates == 0));
  // What is broken is not saved over what is not.
  if (do_validate || do_save || stop != Stop::kNo || SignalWatch::received() != 0)
    trainer_->check_parameters();
  std::optional<double> metric;
  if (do_validate) {
    metric = validate();
    if (metric && out_of_patience(*metric)) stop = Stop::kPatience;
  }
  // A signal that came during the validation counts now.
  if (SignalWatch::received() != 0) stop = Stop::kSignal;
  const bool last = stop != Stop::kNo || (end_of_epoch && is_last(epoch_));
  // As in fairseq, one at the end of an epoch is never called checkpoint_{epoch}_{updates}.
  if (do_save || stop != Stop::kNo) save(save_epoch, interval && !end_of_epoch, metric, last);
  return stop;
}

std::optional<double> TrainingRun::validate() {
  RECORD_USER_SCOPE("validation");
  progress_.clear();
  threads_.stop_trial();
  std::optional<double> metric;
  bool decides = true;
  for (const auto& subset : options_.dataset.valid_subset) {
    for (const auto& pass : validation_passes(subset, options_.moe.validate_routing)) {
      if (!validate_pass(subset, pass, decides ? &metric : nullptr)) return std::nullopt;
      decides = false;
    }
  }
  return metric;
}

bool TrainingRun::validate_pass(const std::string& subset, const ValidationPass& pass,
                                std::optional<double>* metric) {
  MeterGroup group;
  const bool translate = bleu_ && !pass.as_trained;
  if (translate) bleu_->reset();
  const auto total = evaluate_dataset(
      valid_sets_.at(subset), iterator_options(options_, /*training=*/false),
      options_.dataset.max_valid_steps.value_or(-1), trainer_->criterion().options(),
      [&](const Batch& batch) {
        if (translate) bleu_->add(trainer_->model(), batch, trainer_->updates());
        return trainer_->evaluate(batch, pass.as_trained);
      },
      group, [] { return SignalWatch::received() != 0; });
  if (!total) return false;
  if (translate) log_bleu(group, bleu_->score());
  auto line =
      validation_line(group, *total, trainer_->criterion().options(), trainer_->updates(), epoch_);
  find_task(options_.task.task).add_metrics(line, *total);
  if (total->sample_size == 0) {
    warn_once(fmt::format("{}: no token of it is a target, so that its validation has no loss",
                          valid_sets_.at(subset)->name()));
  }
  const auto& key = options_.checkpoint.best_checkpoint_metric;
  if (metric != nullptr && group.is_known(key)) {
    *metric = group.rounded(key);
    if (const auto best = checkpoints_->best()) {
      const auto value = options_.checkpoint.maximize_best_checkpoint_metric
                             ? std::max(*best, **metric)
                             : std::min(*best, **metric);
      line.add("best_" + key, value, 1000, std::nullopt);
    }
  }
  line.add_data("elapsed", elapsed());
  line.add_data("flops", flops_);
  line.add_data("train_tokens", tokens_);
  emit(pass.tag, line, pass.tag + "_");
  return true;
}

bool TrainingRun::out_of_patience(double metric) {
  const auto patience = options_.checkpoint.patience;
  if (patience <= 0) return false;
  const bool maximize = options_.checkpoint.maximize_best_checkpoint_metric;
  if (!patience_best_ || (maximize ? metric > *patience_best_ : metric < *patience_best_)) {
    patience_best_ = metric;
    patience_used_ = 0;
    return false;
  }
  if (++patience_used_ < patience) return false;
  log().info("stops: no better {} in {} validations (--patience)",
             options_.checkpoint.best_checkpoint_metric, patience);
  return true;
}

void TrainingRun::save(bool end_of_epoch, bool interval, std::optional<double> metric, bool last) {
  if (options_.checkpoint.no_save) return;
  RECORD_USER_SCOPE("checkpoint");
  SaveRequest request;
  request.epoch = epoch_;
  request.updates = trainer_->updates();
  request.end_of_epoch = end_of_epoch;
  request.interval = interval;
  request.metric = metric;
  request.last = last;
  request.training_finished = last && SignalWatch::received() == 0;
  checkpoints_->save(request, snapshot());
  saved_updates_ = request.updates;
}

Checkpoint TrainingRun::snapshot() const {
  Checkpoint checkpoint;
  checkpoint.model = trainer_->model_state();
  checkpoint.optimizer = trainer_->optimizer_state();
  auto& manifest = checkpoint.manifest;
  TrainOptions options = options_;
  OptionTable table("train", "");
  describe(table, options);
  manifest["config"] = table.to_json();
  manifest["counters"] = {{"updates", trainer_->updates()}};
  // At the end of an epoch the next one begins with its first batch.
  const bool finished = offset_ > 0 && iterator_->finished();
  const auto next_epoch = finished ? epoch_ + 1 : epoch_;
  manifest["data"] = {{"epoch", next_epoch},
                      {"offset", finished ? 0 : offset_},
                      {"items", data_->train(next_epoch, options_.dataset.train_subset)->size()}};
  const auto stage = trainer_->next_stage();
  manifest["evolution"] = {{"stage", stage_name(stage.stage)},
                           {"shared_expert", trainer_->holds_shared_expert()},
                           {"temperature", stage.schedule.temperature},
                           {"hard", stage.schedule.hard}};
  manifest["model"] = model_section(data_->source_dictionary(), data_->target_dictionary());
  manifest["progress"] = {
      {"seconds", elapsed()}, {"flops", flops_}, {"tokens", tokens_}, {"meters", metrics_.state()}};
  manifest["patience"] = {{"used", patience_used_},
                          {"best", nullptr},
                          {"metric", options_.checkpoint.best_checkpoint_metric}};
  if (patience_best_) manifest["patience"]["best"] = *patience_best_;
  return checkpoint;
}

double TrainingRun::elapsed() const {
  return earlier_seconds_ + (started_ > 0 ? steady_clock_seconds()() - started_ : 0);
}

}  // namespace evomoe
