#include "evomoe/train/training_run.h"

#include <cmath>
#include <filesystem>
#include <fstream>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/config/describe.h"
#include "evomoe/config/validate_options.h"
#include "evomoe/train/run_folder.h"
#include "evomoe/train/settings.h"
#include "evomoe/train/signals.h"
#include "evomoe/train/training_metrics.h"
#include "evomoe/train/validation.h"

namespace evomoe {
namespace {

constexpr int kTrainWall = 800, kWall = 1000;

CheckpointPolicy checkpoint_policy(const CheckpointOptions& options) {
  CheckpointPolicy policy;
  policy.keep_interval_updates = options.keep_interval_updates;
  policy.keep_last_epochs = options.keep_last_epochs;
  policy.keep_best_checkpoints = options.keep_best_checkpoints;
  policy.best_metric = options.best_checkpoint_metric;
  policy.maximize_best = options.maximize_best_checkpoint_metric;
  policy.symlink = options.symlink;
  policy.asynchronous = options.write_checkpoints_asynchronously;
  policy.no_save = options.no_save;
  policy.no_epoch_checkpoints = options.no_epoch_checkpoints;
  policy.no_last_checkpoints = options.no_last_checkpoints;
  policy.no_save_optimizer_state = options.no_save_optimizer_state;
  policy.validate();
  return policy;
}

}  // namespace

TrainingRun::TrainingRun(const TrainOptions& options)
    : options_(options), device_(torch::kCPU), progress_(options.common.log_format != "none") {
  validate_options(options_);
  device_ = use_device(options_.common);
  open_data();
  open_folder();
  restore();
  announce();
}

TrainingRun::~TrainingRun() = default;

void TrainingRun::open_data() {
  const auto& dataset = options_.dataset;
  data_ =
      std::make_unique<LanguageModelData>(options_.data, language_model_dataset_options(options_));
  auto train = data_->train(1, dataset.train_subset);
  if (!dataset.disable_validation) {
    if (!dataset.combine_valid_subsets && !dataset.ignore_unused_valid_subsets) {
      const auto unused = data_->unused_valid_splits(dataset.valid_subset);
      if (!unused.empty()) {
        fail_usage(
            "the data has further validation sets ({}...) that --valid-subset does not name; add "
            "--combine-valid-subsets, "
            "--ignore-unused-valid-subsets or --disable-validation",
            unused.front());
      }
    }
    for (const auto& subset : dataset.valid_subset) {
      const auto rows = options_.task.pad_to_fixed_bsz
                            ? dataset.batch_size_valid.value_or(dataset.batch_size.value_or(0))
                            : 0;
      valid_sets_[subset] = data_->open(subset, dataset.combine_valid_subsets, rows);
    }
  }
  iterator_ = std::make_unique<EpochIterator>(
      [this](int64_t epoch) { return data_->train(epoch, options_.dataset.train_subset); },
      iterator_options(options_, /*training=*/true));
  EVOMOE_CHECK(iterator_->batches_per_epoch() > 0, "{}: no batch can be made of the training data",
               train->name());
}

void TrainingRun::open_folder() {
  checkpoints_ = std::make_unique<CheckpointManager>(options_.checkpoint.save_dir,
                                                     checkpoint_policy(options_.checkpoint));
}

void TrainingRun::restore() {
  const auto& flags = options_.checkpoint;
  const std::filesystem::path folder = flags.save_dir;
  const std::filesystem::path named = flags.restore_file;
  const auto path = named.has_parent_path() ? named : folder / named;
  if (checkpoint_exists(path)) {
    restore_from(path, /*finetune=*/false);
  } else if (named.has_parent_path() || named != "checkpoint_last") {
    fail("--restore-file {}: there is no checkpoint at {}", flags.restore_file, path.string());
  } else if (flags.finetune_from_model) {
    restore_from(*flags.finetune_from_model, /*finetune=*/true);
  } else {
    trainer_ =
        std::make_unique<Trainer>(options_, data_->dictionary().size(), Dictionary::kPad, device_);
    if (flags.init_from)
      trainer_->load_model_state(read_safetensors(*flags.init_from),
                                 "--init-from " + *flags.init_from);
  }
  first_update_ = trainer_->updates();
  if (!flags.no_save) {
    const auto log_path = folder / "log.jsonl";
    log_ = first_update_ > 0 ? RunLog::resume(log_path, first_update_) : RunLog::fresh(log_path);
    write_run_folder(options_, folder);
  }
}

void TrainingRun::restore_from(const std::filesystem::path& path, bool finetune) {
  const auto& flags = options_.checkpoint;
  const bool with_optimizer = !finetune && !flags.reset_optimizer;
  const auto checkpoint = load_checkpoint(path, with_optimizer);
  const auto& manifest = checkpoint.manifest;
  const auto saved_updates = manifest.at("counters").at("updates").get<int64_t>();
  TrainOptions as_saved = options_;
  // The experts are there or not as the checkpoint has them, whatever this run's schedule says.
  const bool shared = manifest.at("evolution").at("shared_expert").get<bool>();
  EVOMOE_CHECK(finetune || shared == in_shared_expert_stage(options_, saved_updates),
               "{}: it was written {} the experts were spawned, but with --shared-expert-updates "
               "{} update {} lies {} the spawn; use the "
               "value of that run",
               path.string(), shared ? "before" : "after", options_.evolution.shared_expert_updates,
               saved_updates, shared ? "after" : "before");
  const bool fresh_counters = finetune || flags.reset_optimizer;
  trainer_ = std::make_unique<Trainer>(as_saved, data_->dictionary().size(), Dictionary::kPad,
                                       device_, finetune ? 0 : saved_updates);
  trainer_->load_model_state(checkpoint.model, "checkpoint " + path.string());
  if (finetune) {
    log().info("took the model of {}", path.string());
    return;
  }
  if (fresh_counters) {
    trainer_->set_updates(0);
  } else {
    EVOMOE_CHECK(!checkpoint.optimizer.empty(),
                 "{}: it was saved without the optimiser's state (--no-save-optimizer-state), so "
                 "the run cannot go on from it; start anew "
                 "from its model with --finetune-from-model, or pass --reset-optimizer",
                 path.string());
    trainer_->load_optimizer_state(checkpoint.optimizer);
  }
  if (!flags.reset_dataloader) {
    epoch_ = manifest.at("data").at("epoch").get<int64_t>();
    offset_ = manifest.at("data").at("offset").get<int64_t>();
  }
  if (!flags.reset_meters) {
    const auto& progress = manifest.at("progress");
    earlier_seconds_ = progress.at("seconds").get<double>();
    flops_ = progress.at("flops").get<double>();
    tokens_ = progress.at("tokens").get<double>();
    metrics_.load(progress.at("meters"));
    const auto& patience = manifest.at("patience");
    patience_used_ = patience.at("used").get<int64_t>();
    if (!patience.at("best").is_null()) patience_best_ = patience.at("best").get<double>();
    checkpoints_->restore(manifest);
  }
  log().info("goes on from {} (epoch {}, {} updates)", path.string(), epoch_, trainer_->updates());
}

void TrainingRun::announce() const {
  const auto& model = trainer_->model();
  int64_t parameters = 0, experts = 0;
  for (const auto& item : model->named_parameters()) {
    parameters += item.value().numel();
    if (item.key().find(".experts.") != std::string::npos) experts += item.value().numel();
  }
  log().info("{}: {} tokens of training text in {} batches per epoch; vocabulary {}", options_.data,
             data_->train(1, options_.dataset.train_subset)->tokens(),
             iterator_->batches_per_epoch(), data_->dictionary().size());
  log().info("model {}: {} parameters ({} of experts) on {} with {} threads", options_.model.arch,
             parameters, experts, device_.str(), at::get_num_threads());
  if (model->moe_layers().empty() && options_.model.arch.ends_with("_moe")) {
    log().info(
        "this is a dense model: --arch {} sets no experts. Add --moe-freq 2 --moe-expert-count 8 "
        "--moe-topk-expert --use-gumbel-softmax "
        "--criterion moe_cross_entropy for EvoMoE",
        options_.model.arch);
  }
}

int TrainingRun::run() {
  const SignalWatch signals;
  const auto train_inner = metrics_.aggregate("train_inner");
  started_ = steady_clock_seconds()();
  const auto& optimization = options_.optimization;
  // A run that is already complete stays as it is.
  Stop stop = reached_limit() ? Stop::kLimit : Stop::kNo;
  while (stop == Stop::kNo && (optimization.max_epoch == 0 || epoch_ <= optimization.max_epoch)) {
    if (trainer_->next_lr(epoch_) <= optimization.stop_min_lr) {
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
  checkpoints_->finish();
  if (stop == Stop::kSignal) {
    log().info("stopped by signal {} after {} updates; run the same command again to go on",
               SignalWatch::received(), trainer_->updates());
    return 128 + SignalWatch::received();
  }
  log().info("done after {} updates in {}", trainer_->updates(), duration_text(elapsed()));
  return 0;
}

TrainingRun::Stop TrainingRun::train_epoch() {
  if (offset_ == 0) metrics_.group("train").reset();
  const auto train = metrics_.aggregate("train");
  Stop stop = Stop::kNo;
  while (auto micro_batches = iterator_->next_update()) {
    metrics_.log([](MeterGroup& meters) { meters.start_time("train_wall", kTrainWall, 0); });
    const auto result = trainer_->update(*micro_batches, epoch_);
    metrics_.log([](MeterGroup& meters) { meters.stop_time("train_wall"); });
    offset_ = iterator_->offset();
    report_update(result);
    stop = validate_and_save(iterator_->finished());
    if (stop != Stop::kNo) break;
  }
  if (stop != Stop::kSignal) {
    LogLine line(epoch_);
    metrics_.group("train").write(line);
    line.add("wall", elapsed(), kWall, 0);
    emit("train", line, "train_");
  }
  return stop;
}

void TrainingRun::report_update(const UpdateResult& result) {
  if (result.spawned || stage_name(result.stage.stage) != last_stage_) announce_stage(result);
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

  if (progress_.live()) {
    const double now = elapsed();
    const double speed = tokens / std::max(now - last_update_at_, 1e-9);
    const double loss = result.sums.inner / static_cast<double>(result.sums.sample_size);
    const bool first = last_update_at_ == 0;
    shown_loss_ = first ? loss : 0.95 * shown_loss_ + 0.05 * loss;
    shown_speed_ = first ? speed : 0.95 * shown_speed_ + 0.05 * speed;
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
}

void TrainingRun::log_train_inner(const UpdateResult& result) {
  LogLine line(epoch_, round_python(static_cast<double>(epoch_ - 1) + epoch_share(), 3));
  auto& group = metrics_.group("train_inner");
  group.write(line);
  line.add("wall", elapsed(), kWall, 0);
  if (!result.routers.empty()) {
    line.add_data("evolution", stage_data(result.stage));
    line.add_data("active_experts", *active_experts(result.routers));
    line.add_data("routers", router_data(result.routers));
  }
  line.add_data("flops_per_token", inner_flops_ / inner_tokens_);
  line.add_data("elapsed", elapsed());
  emit("train_inner", line);
  group.reset();
  inner_flops_ = inner_tokens_ = 0;
}

void TrainingRun::announce_stage(const UpdateResult& result) {
  const bool moe = !trainer_->model()->moe_layers().empty();
  last_stage_ = stage_name(result.stage.stage);
  if (!moe) return;
  std::string did;
  if (result.spawned) {
    const auto& flags = options_.evolution;
    did =
        fmt::format("; the shared expert of {} layers became {} experts (--diversify {}, ratio {})",
                    trainer_->model()->moe_layers().size(), options_.moe.moe_expert_count,
                    flags.diversify, flags.diversify_ratio);
  }
  progress_.clear();
  const auto update = trainer_->updates();
  log().info("update {}: the {} stage begins{}", update, last_stage_, did);
  if (log_) {
    auto record = stage_data(result.stage);
    record["spawned"] = result.spawned;
    log_->append("stage", update, record);
  }
}

bool TrainingRun::reached_limit() const {
  const auto& optimization = options_.optimization;
  if (optimization.max_update > 0 && trainer_->updates() >= optimization.max_update) return true;
  return optimization.stop_time_hours > 0 && started_ > 0 &&
         elapsed() > optimization.stop_time_hours * 3600;
}

TrainingRun::Stop TrainingRun::validate_and_save(bool end_of_epoch) {
  const auto& dataset = options_.dataset;
  const auto& flags = options_.checkpoint;
  const auto updates = trainer_->updates();
  Stop stop = reached_limit() ? Stop::kLimit : Stop::kNo;
  const bool signalled = SignalWatch::received() != 0;
  const bool interval = flags.save_interval_updates > 0 && updates > 0 &&
                        updates % flags.save_interval_updates == 0 &&
                        updates >= dataset.validate_after_updates;
  const bool save_epoch = end_of_epoch && epoch_ % flags.save_interval == 0;
  const bool do_save = save_epoch || stop == Stop::kLimit || interval;
  const bool do_validate =
      !dataset.disable_validation && !signalled &&
      ((!end_of_epoch && do_save) || (end_of_epoch && epoch_ % dataset.validate_interval == 0) ||
       stop == Stop::kLimit ||
       (dataset.validate_interval_updates > 0 && updates > 0 &&
        updates % dataset.validate_interval_updates == 0));
  std::optional<double> metric;
  if (do_validate) {
    metric = validate();
    last_metric_ = metric;
    if (out_of_patience(*metric)) stop = Stop::kPatience;
  }
  if (signalled) stop = Stop::kSignal;
  if (do_save || stop != Stop::kNo) save(save_epoch, interval, metric);
  return stop;
}

double TrainingRun::validate() {
  progress_.clear();
  std::optional<double> metric;
  const auto& routing = options_.moe.validate_routing;
  for (const auto& subset : options_.dataset.valid_subset) {
    if (routing != "stage")
      validate_subset(subset, subset, /*as_trained=*/false, metric ? nullptr : &metric);
    if (routing != "reference")
      validate_subset(subset, subset + "_stage", /*as_trained=*/true, metric ? nullptr : &metric);
  }
  return metric.value_or(0);
}

void TrainingRun::validate_subset(const std::string& subset, const std::string& tag,
                                  bool as_trained, std::optional<double>* metric) {
  MeterGroup group;
  const auto total = evaluate_dataset(
      valid_sets_.at(subset), iterator_options(options_, /*training=*/false),
      options_.dataset.max_valid_steps.value_or(-1), trainer_->criterion().is_moe(),
      [&](const Batch& batch) { return trainer_->evaluate(batch, as_trained); }, group);
  group.scalar("num_updates", static_cast<double>(trainer_->updates()), 0, 200);
  LogLine line(epoch_);
  group.write(line);
  const auto& key = options_.checkpoint.best_checkpoint_metric;
  if (metric != nullptr) {
    EVOMOE_CHECK(group.has(key),
                 "--best-checkpoint-metric {} is not among the validation's metrics", key);
    *metric = group.rounded(key);
    if (const auto best = checkpoints_->best()) {
      const auto value = options_.checkpoint.maximize_best_checkpoint_metric
                             ? std::max(*best, **metric)
                             : std::min(*best, **metric);
      line.add("best_" + key, value, 1000, std::nullopt);
    }
  }
  line.add_data("perplexity", std::exp(total.inner / static_cast<double>(total.sample_size)));
  line.add_data("elapsed", elapsed());
  line.add_data("flops", flops_);
  line.add_data("train_tokens", tokens_);
  emit(tag, line, tag + "_");
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

void TrainingRun::save(bool end_of_epoch, bool interval, std::optional<double> metric) {
  if (options_.checkpoint.no_save) return;
  SaveRequest request;
  request.epoch = epoch_;
  request.updates = trainer_->updates();
  request.end_of_epoch = end_of_epoch;
  request.interval = interval;
  request.metric = metric;
  checkpoints_->save(request, snapshot());
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
  const bool finished = iterator_->finished();
  manifest["data"] = {{"epoch", finished ? epoch_ + 1 : epoch_},
                      {"offset", finished ? 0 : offset_}};
  const auto stage = trainer_->next_stage();
  manifest["evolution"] = {{"stage", stage_name(stage.stage)},
                           {"shared_expert", in_shared_expert_stage(options_, trainer_->updates())},
                           {"temperature", stage.schedule.temperature},
                           {"hard", stage.schedule.hard}};
  manifest["model"] = {{"vocabulary", data_->dictionary().size()}, {"padding", Dictionary::kPad}};
  manifest["progress"] = {
      {"seconds", elapsed()}, {"flops", flops_}, {"tokens", tokens_}, {"meters", metrics_.state()}};
  manifest["patience"] = {{"used", patience_used_}, {"best", nullptr}};
  if (patience_best_) manifest["patience"]["best"] = *patience_best_;
  return checkpoint;
}

void TrainingRun::emit(const std::string& tag, const LogLine& line, const std::string& prefix) {
  if (log_) log_->append(tag, trainer_->updates(), line.to_json(prefix));
  const auto& format = options_.common.log_format;
  if (format == "none") return;
  progress_.clear();
  std::string text;
  if (format == "json") {
    text = line.json_text(prefix);
  } else if (line.update()) {
    text = format == "simple" ? line.simple_text(offset_, iterator_->batches_per_epoch())
                              : line.bar_text(prefix);
  } else {
    text = line.bar_text(prefix);
  }
  fmt::print("{} | INFO | {} | {}\n", timestamp(), tag, text);
  std::fflush(stdout);
}

double TrainingRun::epoch_share() const {
  // Counted in updates: the last one of an epoch may have fewer micro-batches.
  const auto& list = options_.optimization.update_freq;
  const auto freq = list[std::min<size_t>(static_cast<size_t>(epoch_), list.size()) - 1];
  const auto done = (offset_ + freq - 1) / freq;
  return static_cast<double>(done) / static_cast<double>(iterator_->updates_per_epoch());
}

double TrainingRun::elapsed() const {
  return earlier_seconds_ + (started_ > 0 ? steady_clock_seconds()() - started_ : 0);
}

}  // namespace evomoe
