#include "evomoe/run/training_run.h"

#include <ATen/record_function.h>

#include <algorithm>
#include <filesystem>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/loading/data_record.h"
#include "evomoe/loading/run_folder.h"
#include "evomoe/loading/stored_state.h"
#include "evomoe/run/announcements.h"
#include "evomoe/run/checkpoint_policy.h"
#include "evomoe/run/schedule_check.h"
#include "evomoe/run/signals.h"
#include "evomoe/run/starting_point.h"
#include "evomoe/runtime/resident_memory.h"
#include "evomoe/train/batches.h"
#include "evomoe/train/model_options.h"
#include "evomoe/train/settings.h"
#include "evomoe/train/validate_options.h"

namespace evomoe {
namespace {

constexpr int kTrainWall = 800;  // place in a log line

/// A new run's log does not destroy the one of an earlier run in the same folder.
void move_aside(const std::filesystem::path& log) {
  std::error_code absent;
  if (std::filesystem::file_size(log, absent) == 0 || absent) return;
  int number = 1;
  const auto name = [&] {
    return log.parent_path() / fmt::format("{}.{}.jsonl", log.stem().string(), number);
  };
  while (std::filesystem::exists(name())) ++number;
  std::filesystem::rename(log, name());
}

}  // namespace

TrainingRun::TrainingRun(const TrainOptions& options, const RankPlace& place)
    : options_(options),
      device_(torch::kCPU),
      threads_(options.common.threads, [this](const auto& change) { reporter_->threads(change); }),
      patience_(options.checkpoint) {
  validate_options(options_);
  check_settings(options_);
  check_best_metric(options_);
  if (place.rank == 0 && options_.live.live) open_live_page();
  options_.distributed.distributed_world_size = place.size;  // whoever has said it
  device_ = use_device(options_.common);
  data_ = open_run_data(options_, place);
  auto ranks = join_run(place, options_, data_, device_);
  auto policy = checkpoint_policy(options_);
  // Ranks that hold different things write the checkpoints together, else rank 0 does.
  const bool together = save_together(options_, ranks);
  if (place.rank > 0 && !together) policy.no_save = true;
  check_same_folder(options_, *ranks.all);
  memory_.emplace(options_, *data_.task, device_, ranks);
  if (place.rank > 0) {
    if (options_.distributed.log_all_ranks && !options_.checkpoint.no_save)
      rank_log_ = fmt::format("log.rank-{}.jsonl", place.rank);
    options_ = silent(std::move(options_));
  }
  validator_.emplace(options_, iterator_options(options_, /*training=*/false, place),
                     data_.task->target_dictionary(), data_.bpe.get());
  for (const auto& [subset, dataset] : data_.valid) validator_->check_bleu_lengths(dataset);
  checkpoints_ = std::make_unique<CheckpointManager>(
      options_.checkpoint.save_dir, std::move(policy),
      together ? same_ranks(*ranks.all) : std::make_shared<SelfCommunicator>());
  agree({}, *ranks.all);  // rank 0 has the folder to itself until it is in order
  begin(std::move(ranks));
  if (auto* log_file = reporter_->log_file())
    memory_->write_plan(options_, trainer_->updates(), *log_file);
  const auto ahead =
      updates_ahead(options_, *data_.batches, epoch_, offset_ / place.size, first_update_);
  profile_ = open_profile(options_, ahead);
  announce_run(options_, data_, *trainer_, ahead);
}

TrainingRun::~TrainingRun() = default;

void TrainingRun::open_live_page() {
  if (options_.checkpoint.no_save)
    fail_usage("--live shows the log of the run folder, which --no-save does not write");
  const std::filesystem::path folder = options_.checkpoint.save_dir;
  const auto make_page = [folder]() -> std::unique_ptr<ReportPage> {
    if (!std::filesystem::exists(folder / "log.jsonl")) return nullptr;
    return std::make_unique<ReportPage>(
        ReportPageOptions{.folders = {folder.string()}, .version = EVOMOE_VERSION});
  };
  live_ = std::make_unique<LiveServer>(
      LivePlace{.port = *options_.live.live, .address = options_.live.live_address}, EVOMOE_VERSION,
      make_page);
  log().info("live page: {}", live_->url());
}

void TrainingRun::begin(RankGroups groups) {
  auto start = find_starting_point(options_, *memory_, data_, device_, std::move(groups));
  trainer_ = std::move(start.trainer);
  epoch_ = start.epoch;
  offset_ = start.offset;
  first_update_ = saved_updates_ = trainer_->updates();
  const bool log_goes_on = first_update_ > 0 && start.in_own_folder;
  reporter_.emplace(options_, *trainer_, *data_.batches, totals_, open_folder(log_goes_on),
                    open_board(log_goes_on));
  if (!start.meters) return;
  totals_.restore(start.meters->progress);
  read_sections(start.path, [&] { reporter_->metrics().load(start.meters->progress.meters); });
  patience_.restore(start.meters->patience);
  checkpoints_->restore(*start.meters);
}

std::optional<RunLog> TrainingRun::open_folder(bool log_goes_on) const {
  if (options_.checkpoint.no_save && !rank_log_) return std::nullopt;
  const std::filesystem::path folder = options_.checkpoint.save_dir;
  const auto log = folder / rank_log_.value_or("log.jsonl");
  if (!log_goes_on) move_aside(log);
  auto log_file = RunLog::resume(log, first_update_);
  if (rank_log_) return log_file;
  write_run_folder(options_, folder);
  write_data_record(options_, *data_.task, data_.valid, folder / "data.json");
  return log_file;
}

std::optional<EventBoard> TrainingRun::open_board(bool log_goes_on) {
  const auto& folder = options_.common.tensorboard_logdir;
  if (!folder) return std::nullopt;
  const std::filesystem::path path = *folder;
  board_lock_ = std::make_unique<RunLock>(path / "train_inner", "--tensorboard-logdir");
  return EventBoard(path, config_yaml(options_), log_goes_on ? first_update_ : 0);
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
    if (const auto summary = profile_->finish())
      reporter_->profile(*summary, profile_->trace().string());
  }
  if (trainer_->updates() > first_update_) memory_->report_peak(*trainer_, reporter_->log_file());
  if (stop == Stop::kSignal) {
    log().info("stopped by signal {} after {} updates; {}", interruption_.signal,
               trainer_->updates(), how_to_go_on(options_));
    return 128 + interruption_.signal;
  }
  const auto& budget = options_.optimization.budget;
  const auto warmup = trainer_->lr_schedule().effective_warmup_updates();
  if (budget && Budget(*budget).is_spent(spent()) && trainer_->updates() <= warmup) {
    log().warn(
        "--budget {} was spent after {} updates, within the warm-up of {} (--warmup-updates): "
        "the learning rate has not come to --lr",
        *budget, trainer_->updates(), warmup);
  }
  log().info("done after {} updates in {}", trainer_->updates(), duration_text(totals_.seconds()));
  return 0;
}

TrainingRun::Stop TrainingRun::train() {
  const auto train_inner = reporter_->metrics().aggregate("train_inner");
  forget_peak_resident_memory();  // loading a checkpoint needs its own
  totals_.start();
  look_outside();
  const auto& optimization = options_.optimization;
  // A run that is already complete stays as it is.
  Stop stop = reached_limit() ? Stop::kLimit : patience_.is_used_up() ? Stop::kPatience : Stop::kNo;
  while (stop == Stop::kNo && (optimization.max_epoch == 0 || epoch_ <= optimization.max_epoch)) {
    if (lr_came_down(epoch_)) {
      log().info("stops: the learning rate has come down to --stop-min-lr {}",
                 optimization.stop_min_lr);
      break;
    }
    data_.batches->start_epoch(epoch_, offset_);
    stop = train_epoch();
    if (stop != Stop::kNo) break;
    ++epoch_;
    offset_ = 0;
  }
  reporter_->clear_line();
  return stop;
}

void TrainingRun::save_after_error() {
  if (save_together(options_, trainer_->ranks())) return;  // it takes all ranks
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
  auto& metrics = reporter_->metrics();
  const auto micro_batches = [&] {
    RECORD_USER_SCOPE("data wait");
    return *data_.batches->next_update();
  }();
  metrics.log([](MeterGroup& meters) { meters.start_time("train_wall", kTrainWall, 0); });
  threads_.begin();
  auto result = trainer_->update(micro_batches, epoch_);
  threads_.end(result.flops);
  metrics.log([](MeterGroup& meters) { meters.stop_time("train_wall"); });
  return result;
}

TrainingRun::Stop TrainingRun::train_epoch() {
  if (offset_ == 0) reporter_->metrics().group("train").reset();
  const auto train = reporter_->metrics().aggregate("train");
  auto& batches = *data_.batches;
  Stop stop = Stop::kNo;
  while (!batches.finished()) {
    if (profile_) profile_->before_update();
    const double begin = totals_.seconds();
    const auto result = next_update();
    const double seconds = totals_.seconds() - begin;
    offset_ = batches.batches_done();
    totals_.add(result.flops, static_cast<double>(result.sums.tokens));
    look_outside();
    reporter_->update(result, seconds);
    if (profile_) {
      if (const auto summary = profile_->after_update(trainer_->updates()))
        reporter_->profile(*summary, profile_->trace().string());
    }
    stop = validate_and_save(batches.finished());
    if (stop != Stop::kNo) break;
  }
  if (stop != Stop::kSignal) reporter_->epoch();
  return stop;
}

void TrainingRun::look_outside() {
  interruption_ = agree({.signal = SignalWatch::received(), .seconds = totals_.seconds()},
                        trainer_->communicator());
  trainer_->set_lr_schedule(options_.optimization.schedule(trainer_->updates(), spent()));
}

Spent TrainingRun::spent() const {
  return {.tokens = totals_.tokens(), .flops = totals_.flops(), .seconds = interruption_.seconds};
}

bool TrainingRun::reached_limit() const {
  const auto& optimization = options_.optimization;
  const double hours = optimization.stop_time_hours;
  return (hours > 0 && interruption_.seconds > hours * 3600) ||
         (optimization.budget && Budget(*optimization.budget).is_spent(spent())) ||
         (optimization.max_update > 0 && trainer_->updates() >= optimization.max_update);
}

bool TrainingRun::lr_came_down(int64_t epoch) const {
  const auto& optimization = options_.optimization;
  const auto updates = trainer_->updates();
  const bool warm = updates >= trainer_->lr_schedule().effective_warmup_updates() &&
                    rewarmup_factor(options_.evolution, updates) == 1.0;
  return warm && trainer_->next_lr(epoch) <= optimization.stop_min_lr;
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
      !dataset.disable_validation && interruption_.signal == 0 &&
      ((!end_of_epoch && do_save) || (end_of_epoch && epoch_ % dataset.validate_interval == 0) ||
       stop == Stop::kLimit ||
       (dataset.validate_interval_updates > 0 && updates > 0 &&
        updates >= dataset.validate_after_updates &&
        updates % dataset.validate_interval_updates == 0));
  // What is broken is not saved over what is not.
  if (do_validate || do_save || stop != Stop::kNo || interruption_.signal != 0)
    trainer_->check_parameters();
  std::optional<double> metric;
  if (do_validate) {
    metric = validate();
    look_outside();
    if (metric && patience_.ends_with(*metric)) stop = Stop::kPatience;
  }
  // A signal that came during the validation counts now.
  if (interruption_.signal != 0) stop = Stop::kSignal;
  const bool last = stop != Stop::kNo || (end_of_epoch && is_last(epoch_));
  // As in fairseq, one at the end of an epoch is never called checkpoint_{epoch}_{updates}.
  if (do_save || stop != Stop::kNo) save(save_epoch, interval && !end_of_epoch, metric, last);
  return stop;
}

std::optional<double> TrainingRun::validate() {
  RECORD_USER_SCOPE("validation");
  reporter_->clear_line();
  threads_.stop_trial();
  const auto scope = trainer_->evaluation(/*any_calls=*/options_.task.bleu.eval_bleu);
  std::optional<double> metric;
  bool decides = true;
  for (const auto& subset : options_.dataset.valid_subset) {
    for (const auto& pass : validation_passes(subset, options_.moe.validate_routing)) {
      if (!validate_pass(subset, pass, decides ? &metric : nullptr)) return std::nullopt;
      decides = false;
    }
  }
  reporter_->expert_similarity("validation");
  return metric;
}

bool TrainingRun::validate_pass(const std::string& subset, const ValidationPass& pass,
                                std::optional<double>* metric) {
  auto found =
      validator_->run(pass, data_.valid.at(subset),
                      {.model = trainer_->model(),
                       .device = device_,
                       .updates = trainer_->updates(),
                       .epoch = epoch_},
                      trainer_->communicator(), /*threads=*/nullptr, [this] {
                        // Ranks that see a signal at other batches would wait for each
                        // other: they finish the validation.
                        return trainer_->communicator().size() == 1 && SignalWatch::received() != 0;
                      });
  if (!found) return false;
  if (found->sums.sample_size == 0) {
    warn_once(fmt::format("{}: no token of it is a target, so that its validation has no loss",
                          data_.valid.at(subset)->name()));
  }
  const auto& key = options_.checkpoint.best_checkpoint_metric;
  if (metric != nullptr && found->meters.is_known(key)) {
    *metric = found->meters.rounded(key);
    if (const auto best = checkpoints_->best()) {
      const auto value = options_.checkpoint.maximize_best_checkpoint_metric
                             ? std::max(*best, **metric)
                             : std::min(*best, **metric);
      found->line.add("best_" + key, value, 1000, std::nullopt);
    }
  }
  reporter_->validation(pass.tag, std::move(found->line));
  return true;
}

void TrainingRun::save(bool end_of_epoch, bool interval, std::optional<double> metric, bool last) {
  if (!checkpoints_->saves()) return;
  RECORD_USER_SCOPE("checkpoint");
  SaveRequest request;
  request.epoch = epoch_;
  request.updates = trainer_->updates();
  request.end_of_epoch = end_of_epoch;
  request.interval = interval;
  request.metric = metric;
  request.last = last;
  request.training_finished = last && interruption_.signal == 0;
  Checkpoint checkpoint{state(), trainer_->model_state(), trainer_->optimizer_state(),
                        trainer_->pieces()};
  if (trainer_->communicator().rank() > 0) {
    // Rank 0 has what is whole.
    for (auto* tensors : {&checkpoint.model, &checkpoint.optimizer})
      std::erase_if(*tensors,
                    [&](const auto& of) { return !checkpoint.pieces.contains(of.first); });
  }
  checkpoints_->save(request, checkpoint);
  saved_updates_ = request.updates;
}

RunState TrainingRun::state() const {
  RunState state;
  state.config = stored_config(options_);
  state.updates = trainer_->updates();
  // At the end of an epoch the next one begins with its first batch.
  const bool finished = offset_ > 0 && data_.batches->finished();
  state.data.epoch = finished ? epoch_ + 1 : epoch_;
  state.data.offset = finished ? 0 : offset_;
  state.data.items = data_.items(options_, state.data.epoch);
  const bool grows = has_experts(options_) && !options_.evolution.growth_experts.empty();
  state.evolution = evolution_record(trainer_->next_stage(), trainer_->holds_shared_expert(),
                                     grows ? trainer_->experts() : 0);
  state.model = model_record(data_.task->source_dictionary(), data_.task->target_dictionary());
  state.progress = totals_.record();
  state.progress.meters = reporter_->metrics().state();
  state.patience = patience_.record();
  return state;
}

}  // namespace evomoe
