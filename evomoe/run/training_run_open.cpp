// Opening of a run: data, run folder, the checkpoint to go on from. What can be refused is refused
// here.
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/data/data_folders.h"
#include "evomoe/fairseq/expert_stacks.h"
#include "evomoe/loading/data_record.h"
#include "evomoe/loading/fairseq_import.h"
#include "evomoe/loading/loaded_model.h"
#include "evomoe/loading/resume.h"
#include "evomoe/loading/run_folder.h"
#include "evomoe/loading/starting_weights.h"
#include "evomoe/run/schedule_check.h"
#include "evomoe/run/training_run.h"
#include "evomoe/train/optimizer_settings.h"
#include "evomoe/train/settings.h"
#include "evomoe/train/task.h"
#include "evomoe/train/validation.h"

namespace evomoe {
namespace {

CheckpointPolicy checkpoint_policy(const CheckpointOptions& options, bool in_background) {
  CheckpointPolicy policy;
  policy.keep_interval_updates = options.keep_interval_updates;
  policy.keep_last_epochs = options.keep_last_epochs;
  policy.keep_best_checkpoints = options.keep_best_checkpoints;
  policy.best_metric = options.best_checkpoint_metric;
  policy.maximize_best = options.maximize_best_checkpoint_metric;
  policy.symlink = options.symlink;
  policy.asynchronous = in_background;
  policy.no_save = options.no_save;
  policy.no_epoch_checkpoints = options.no_epoch_checkpoints;
  policy.no_last_checkpoints = options.no_last_checkpoints;
  policy.no_best_checkpoints = options.no_best_checkpoints;
  policy.no_save_optimizer_state = options.no_save_optimizer_state;
  policy.no_save_optimizer_state_on_training_finished =
      options.no_save_optimizer_state_on_training_finished;
  policy.validate();
  return policy;
}

/// A new run's log does not destroy the one of an earlier run in the same folder.
void move_aside(const std::filesystem::path& log) {
  std::error_code absent;
  if (std::filesystem::file_size(log, absent) == 0 || absent) return;
  int number = 1;
  const auto name = [&] { return log.parent_path() / fmt::format("log.{}.jsonl", number); };
  while (std::filesystem::exists(name())) ++number;
  std::filesystem::rename(log, name());
}

/// The weights of a safetensors file under our names.
TensorMap read_weights(const std::filesystem::path& path) {
  TensorMap weights;
  ExpertStacks experts;
  sort_experts(read_safetensors(path), /*first_expert=*/0, weights, experts);
  stack_experts(experts, path.string(), weights);
  return weights;
}

}  // namespace

void TrainingRun::open_data() {
  const auto& dataset = options_.dataset;
  data_ = open_task_data(options_.data, options_);
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
      // Forms the batches once, so that a sequence that is too long is known of now.
      EpochIterator(valid_sets_[subset], iterator_options(options_, /*training=*/false))
          .batches_per_epoch();
    }
  }
  if (options_.task.bleu.eval_bleu) {
    bpe_ = bpe_in(split_data_paths(options_.data).front());
    bleu_.emplace(options_, data_->target_dictionary(), bpe_.get());
  }
  iterator_ = std::make_unique<EpochIterator>(
      [this](int64_t epoch) { return data_->train(epoch, options_.dataset.train_subset); },
      iterator_options(options_, /*training=*/true));
  EVOMOE_CHECK(iterator_->batches_per_epoch() > 0, "{}: no batch can be made of the training data",
               train->name());
}

void TrainingRun::open_folder() {
  checkpoints_ = std::make_unique<CheckpointManager>(
      options_.checkpoint.save_dir, checkpoint_policy(options_.checkpoint, saves_in_background()));
}

void TrainingRun::restore() {
  const auto& flags = options_.checkpoint;
  const std::filesystem::path folder = flags.save_dir;
  const auto last = folder / "checkpoint_last";
  const std::filesystem::path given = flags.restore_file;
  auto path = named_checkpoint(given.has_parent_path() ? given : folder / given);
  // As in fairseq, a name that is given may also be one in the current folder.
  const bool is_given = flags.restore_file != CheckpointOptions().restore_file;
  if (is_given && !checkpoint_entry_exists(path) && !is_fairseq_checkpoint(path)) {
    const auto current = named_checkpoint(std::filesystem::current_path() / given);
    if (checkpoint_exists(current) || is_fairseq_checkpoint(current)) path = current;
  }
  const bool here = std::filesystem::weakly_canonical(path.parent_path()) ==
                    std::filesystem::weakly_canonical(folder);
  // What fairseq resets for --finetune-from-model.
  const bool only_weights = flags.reset_optimizer && flags.reset_dataloader && flags.reset_meters;
  if (checkpoint_entry_exists(path) || is_fairseq_checkpoint(path)) {
    if (!here && checkpoint_entry_exists(last)) {
      fail(
          "--restore-file {}: --save-dir {} holds another run, which would be overwritten; leave "
          "--restore-file out to go on with that run, or name another --save-dir",
          flags.restore_file, flags.save_dir);
    }
    restore_from(path, /*finetune=*/only_weights);
  } else if (!here || given.stem() != last.filename()) {
    fail("--restore-file {}: there is no checkpoint at {}{}", flags.restore_file,
         given.has_parent_path() ? given.string() : (folder / given).string(),
         given.has_parent_path() ? "" : ", nor one of this name in the current folder");
  } else if (flags.finetune_from_model) {
    restore_from(named_checkpoint(*flags.finetune_from_model), /*finetune=*/true);
  } else {
    if (const auto others = checkpoint_names(folder); !others.empty()) {
      log().warn(
          "{}: there is no checkpoint_last, so the run starts anew; --restore-file goes on "
          "from one of: {}",
          folder.string(), fmt::join(others, ", "));
    }
    if (flags.init_from) {
      begin_with(read_weights(*flags.init_from), options_.evolution.shared_expert_updates > 0,
                 "--init-from " + *flags.init_from,
                 "give the options of the run that the weights come from (--arch, "
                 "--decoder-layers ...)");
    } else {
      trainer_ = std::make_unique<Trainer>(trainer_options(), vocabulary_of(*data_), device_);
    }
  }
  first_update_ = saved_updates_ = trainer_->updates();
  if (!flags.no_save) {
    const auto log_path = folder / "log.jsonl";
    // Only a run that goes on where it is goes on with its log.
    if (first_update_ == 0 || !here) move_aside(log_path);
    log_ = RunLog::resume(log_path, first_update_);
    write_run_folder(options_, folder);
    write_data_record(options_, *data_, valid_sets_, folder / "data.json");
  }
}

void TrainingRun::restore_from(const std::filesystem::path& path, bool finetune) {
  read_sections(path, [&] { take_over(path, finetune); });
}

Checkpoint TrainingRun::fairseq_checkpoint(const std::filesystem::path& path,
                                           bool with_optimizer) const {
  const auto theirs = read_fairseq_checkpoint(path, with_optimizer);
  const auto items = data_->train(theirs.epoch, options_.dataset.train_subset)->size();
  return checkpoint_of_fairseq(theirs, options_of_fairseq(theirs, options_.data, !with_optimizer),
                               data_->source_dictionary(), data_->target_dictionary(), items);
}

void TrainingRun::begin_with(const TensorMap& weights, bool shared_expert, const std::string& what,
                             const std::string& remedy) {
  const bool upcycle = has_experts(options_) && is_dense(weights);
  trainer_ = std::make_unique<Trainer>(trainer_options(), vocabulary_of(*data_), device_,
                                       /*completed_updates=*/0, shared_expert || upcycle);
  trainer_->model().initialise(static_cast<uint64_t>(options_.common.seed));
  trainer_->load_model_state(starting_state(weights, trainer_->model_state()), what, remedy);
  log().info("took the model of {}{}", what,
             upcycle ? "; its feed-forward blocks are the shared experts" : "");
  if (!upcycle || options_.evolution.shared_expert_updates > 0) return;
  trainer_->spawn_experts();
  log().info("each became {} experts (--diversify {}, ratio {})", options_.moe.moe_expert_count,
             options_.evolution.diversify.operation, options_.evolution.diversify.ratio);
}

void TrainingRun::take_over(const std::filesystem::path& path, bool finetune) {
  const auto& flags = options_.checkpoint;
  const bool with_optimizer = !finetune && !flags.reset_optimizer;
  const auto checkpoint = is_fairseq_checkpoint(path) ? fairseq_checkpoint(path, with_optimizer)
                                                      : load_checkpoint(path, with_optimizer);
  const auto& manifest = checkpoint.manifest;
  const auto saved_updates = manifest.at("counters").at("updates").get<int64_t>();
  // As in fairseq, updates are counted anew where the optimiser starts anew.
  const auto updates = with_optimizer ? saved_updates : 0;
  check_dictionaries(manifest, data_->source_dictionary(), data_->target_dictionary(), path);
  std::string changed;
  if (!finetune) {
    const auto epoch = manifest.at("data").at("epoch").get<int64_t>();
    const auto items = data_->train(epoch, options_.dataset.train_subset)->size();
    changed = check_resume(checkpoint, options_, items, path);
  }
  const bool shared = manifest.at("evolution").at("shared_expert").get<bool>();
  const bool becomes_experts = finetune && has_experts(options_) && is_dense(checkpoint.model);
  if (has_experts(options_) && !becomes_experts) check_spawn(shared, options_, updates, path);
  if (finetune) {
    const auto other = model_differences(manifest, options_);
    begin_with(checkpoint.model, shared, "checkpoint " + path.string(),
               other.empty() ? kOtherModelRemedy
                             : fmt::format("these options make another model than those of its run "
                                           "({}); use the values of that run",
                                           other));
    if (!other.empty() && !becomes_experts)
      log().warn("its weights were trained in another model: {}", other);
    return;
  }
  trainer_ =
      std::make_unique<Trainer>(trainer_options(), vocabulary_of(*data_), device_, updates, shared);
  trainer_->load_model_state(checkpoint.model, "checkpoint " + path.string(), kOtherModelRemedy);
  if (with_optimizer) {
    EVOMOE_CHECK(!checkpoint.optimizer.empty(),
                 "{}: it was saved without the optimiser's state (--no-save-optimizer-state), so "
                 "the run cannot go on from it; start anew "
                 "from its model with --finetune-from-model, or pass --reset-optimizer",
                 path.string());
    check_optimizer_state(stored_options(manifest), options_, path);
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
    // What another metric is patient about says nothing of this one.
    const auto& patience = manifest.at("patience");
    if (patience.value("metric", flags.best_checkpoint_metric) == flags.best_checkpoint_metric) {
      patience_used_ = patience.at("used").get<int64_t>();
      if (!patience.at("best").is_null()) patience_best_ = patience.at("best").get<double>();
    }
    checkpoints_->restore(manifest);
  }
  if (updates > 0) last_stage_ = stage_name(stage_at(options_.evolution, updates - 1).stage);
  log().info("goes on from {} (epoch {}, {} updates)", path.string(), epoch_, updates);
  if (!changed.empty()) log().info("other than in that run: {}", changed);
}

std::optional<int64_t> TrainingRun::updates_ahead() const {
  const auto& optimization = options_.optimization;
  std::optional<int64_t> ahead;
  if (optimization.max_update > 0) ahead = optimization.max_update - first_update_;
  // Data folders that take turns have epochs of different lengths.
  if (optimization.max_epoch > 0 && options_.data.find(':') == std::string::npos) {
    int64_t updates = 0;
    for (auto epoch = epoch_; epoch <= optimization.max_epoch; ++epoch) {
      const auto& by_epoch = optimization.update_freq;
      const auto batches = iterator_->batches_per_epoch() - (epoch == epoch_ ? offset_ : 0);
      const auto together = by_epoch[std::min(static_cast<size_t>(epoch), by_epoch.size()) - 1];
      updates += (batches + together - 1) / together;
    }
    ahead = std::min(ahead.value_or(updates), updates);
  }
  return ahead;
}

void TrainingRun::open_profile() {
  const auto& updates = options_.resources.profile;
  if (!updates) return;
  if (const auto ahead = updates_ahead(); ahead && *updates > *ahead - Profile::kWarmupUpdates) {
    fail_usage(
        "--profile {}: this run makes {} more updates, and the first {} are warm-up; profile {}",
        *updates, std::max<int64_t>(*ahead, 0), Profile::kWarmupUpdates,
        *ahead > Profile::kWarmupUpdates
            ? fmt::format("at most {}", *ahead - Profile::kWarmupUpdates)
            : "a longer run (--max-update, --max-epoch)");
  }
  const std::filesystem::path folder = options_.checkpoint.save_dir;
  profile_.emplace(*updates,
                   options_.checkpoint.no_save ? std::filesystem::path() : folder / "profile.json");
}

void TrainingRun::announce() const {
  auto& model = trainer_->model();
  int64_t parameters = 0, experts = 0;
  for (const auto& parameter : trainer_->parameters()) {
    parameters += parameter.tensor.numel();
    if (parameter.kind == ParameterKind::kExpert) experts += parameter.tensor.numel();
  }
  const auto symbols = vocabulary_of(*data_);
  log().info(
      "{}: {} tokens of training text in {} batches per epoch; vocabulary {}", options_.data,
      data_->train(1, options_.dataset.train_subset)->tokens(), iterator_->batches_per_epoch(),
      symbols.source == symbols.target ? std::to_string(symbols.target)
                                       : fmt::format("{} to {}", symbols.source, symbols.target));
  log().info("model {}: {} parameters ({} of experts) on {}, {} thread{}", options_.model.arch,
             parameters, experts, device_.str(), at::get_num_threads(),
             at::get_num_threads() == 1 ? "" : "s");
  announce_lr_factors(options_, trainer_->parameters());
  log().info("losses are in bits (log base 2), as in fairseq");
  if (model.moe_layers().empty() && options_.model.arch.ends_with("_moe")) {
    const auto kind = trainer_->criterion().kind();
    const bool classifies = kind.inner == CriterionKind::Inner::kSentencePrediction;
    log().info(
        "this is a dense model: --arch {} sets no experts. Add --moe-freq 2 --moe-expert-count 8 "
        "--moe-topk-expert --use-gumbel-softmax{} for EvoMoE",
        options_.model.arch, classifies ? "" : " --criterion moe_" + options_.criterion.criterion);
  }
  const auto ahead = updates_ahead();
  if (!ahead || *ahead <= 0) return;
  for (const auto& unfit : unfit_schedules(options_, first_update_ + *ahead))
    log().warn("{}", unfit);
}

}  // namespace evomoe
