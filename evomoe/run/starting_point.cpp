#include "evomoe/run/starting_point.h"

#include <fmt/ranges.h>

#include <string>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/checkpoint/checkpoint.h"
#include "evomoe/fairseq/expert_stacks.h"
#include "evomoe/loading/fairseq_import.h"
#include "evomoe/loading/loaded_model.h"
#include "evomoe/loading/resume.h"
#include "evomoe/loading/run_folder.h"
#include "evomoe/loading/starting_weights.h"
#include "evomoe/loading/stored_state.h"
#include "evomoe/train/optimizer_settings.h"
#include "evomoe/train/settings.h"
#include "evomoe/train/task.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

/// The weights of a safetensors file under our names.
TensorMap read_weights(const fs::path& path) {
  refuse_part(path);
  TensorMap weights;
  ExpertStacks experts;
  sort_experts(read_safetensors(path), /*first_expert=*/0, weights, experts);
  stack_experts(experts, path.string(), weights);
  return weights;
}

bool is_there(const fs::path& checkpoint) {
  return checkpoint_entry_exists(checkpoint) || is_fairseq_checkpoint(checkpoint);
}

/// Makes the starting point of one run.
class Start {
 public:
  Start(const TrainOptions& options, const MemoryPlanner& memory, const RunData& data,
        torch::Device device, RankGroups ranks)
      : options_(options),
        memory_(memory),
        data_(data),
        device_(device),
        ranks_(std::move(ranks)) {}

  StartingPoint find();

 private:
  /// The checkpoint that --restore-file names.
  fs::path named_by_restore_file() const;
  void begin_anew();
  /// Begins with the weights of another run. Dense blocks become experts (starting_weights.h).
  /// `shared_expert`: the weights have one in each MoE layer.
  void begin_with(const TensorMap& weights, bool shared_expert, const std::string& what,
                  const std::string& remedy);
  Checkpoint load(const fs::path& path, bool with_optimizer) const;
  /// Begins with the weights of a checkpoint.
  void finetune(const fs::path& path);
  /// Goes on where the run of a checkpoint stopped.
  void resume(const fs::path& path);
  /// `experts`: of each MoE layer now; 0: as the schedule says.
  void make_trainer(int64_t updates, bool shared_expert, int64_t experts = 0);

  const TrainOptions& options_;
  const MemoryPlanner& memory_;
  const RunData& data_;
  torch::Device device_;
  RankGroups ranks_;  ///< the trainer's
  StartingPoint start_;
};

fs::path Start::named_by_restore_file() const {
  const auto& flags = options_.checkpoint;
  const fs::path given = flags.restore_file;
  const auto path =
      named_checkpoint(given.has_parent_path() ? given : fs::path(flags.save_dir) / given);
  // As in fairseq, a name that is given may also be one in the current folder.
  const bool is_given = flags.restore_file != CheckpointOptions().restore_file;
  if (!is_given || is_there(path)) return path;
  const auto current = named_checkpoint(fs::current_path() / given);
  return checkpoint_exists(current) || is_fairseq_checkpoint(current) ? current : path;
}

StartingPoint Start::find() {
  const auto& flags = options_.checkpoint;
  const fs::path folder = flags.save_dir;
  const fs::path given = flags.restore_file;
  const auto last = folder / "checkpoint_last";
  const auto path = named_by_restore_file();
  start_.in_own_folder = fs::weakly_canonical(path.parent_path()) == fs::weakly_canonical(folder);
  if (is_there(path)) {
    if (!start_.in_own_folder && checkpoint_entry_exists(last)) {
      fail(
          "--restore-file {}: --save-dir {} holds another run, which would be overwritten; leave "
          "--restore-file out to go on with that run, or name another --save-dir",
          flags.restore_file, flags.save_dir);
    }
    // What fairseq resets for --finetune-from-model.
    const bool only_weights = flags.reset_optimizer && flags.reset_dataloader && flags.reset_meters;
    only_weights ? finetune(path) : resume(path);
  } else if (!start_.in_own_folder || given.stem() != last.filename()) {
    fail("--restore-file {}: there is no checkpoint at {}{}", flags.restore_file,
         given.has_parent_path() ? given.string() : (folder / given).string(),
         given.has_parent_path() ? "" : ", nor one of this name in the current folder");
  } else if (flags.finetune_from_model) {
    finetune(named_checkpoint(*flags.finetune_from_model));
  } else {
    begin_anew();
  }
  return std::move(start_);
}

void Start::make_trainer(int64_t updates, bool shared_expert, int64_t experts) {
  start_.trainer =
      std::make_unique<Trainer>(memory_.decided(options_), vocabulary_of(*data_.task), device_,
                                updates, shared_expert, std::move(ranks_), experts);
}

void Start::begin_anew() {
  const auto& flags = options_.checkpoint;
  if (const auto others = checkpoint_names(flags.save_dir); !others.empty()) {
    log().warn(
        "{}: there is no checkpoint_last, so the run starts anew; --restore-file goes on "
        "from one of: {}",
        flags.save_dir, fmt::join(others, ", "));
  }
  if (flags.init_from) {
    begin_with(read_weights(*flags.init_from), options_.evolution.shared_expert_updates > 0,
               "--init-from " + *flags.init_from,
               "give the options of the run that the weights come from (--arch, "
               "--decoder-layers ...)");
  } else {
    start_.trainer = std::make_unique<Trainer>(
        memory_.decided(options_), vocabulary_of(*data_.task), device_, std::move(ranks_));
  }
}

void Start::begin_with(const TensorMap& weights, bool shared_expert, const std::string& what,
                       const std::string& remedy) {
  const bool upcycle = has_experts(options_) && is_dense(weights);
  make_trainer(/*updates=*/0, shared_expert || upcycle);
  auto& trainer = *start_.trainer;
  trainer.model().initialise(static_cast<uint64_t>(options_.common.seed));
  trainer.load_model_state(starting_state(weights, trainer.model_state()), what, remedy);
  log().info("took the model of {}{}", what,
             upcycle ? "; its feed-forward blocks are the shared experts" : "");
  if (!upcycle || options_.evolution.shared_expert_updates > 0) return;
  trainer.spawn_experts();
  log().info("each became {} experts (--diversify {}, ratio {})", trainer.experts(),
             options_.evolution.diversify.operation, options_.evolution.diversify.ratio);
}

Checkpoint Start::load(const fs::path& path, bool with_optimizer) const {
  if (!is_fairseq_checkpoint(path)) return load_checkpoint(path, with_optimizer);
  const auto theirs = read_fairseq_checkpoint(path, with_optimizer);
  return checkpoint_of_fairseq(
      theirs, options_of_fairseq(theirs, options_.data, /*weights_only=*/!with_optimizer),
      data_.task->source_dictionary(), data_.task->target_dictionary(),
      data_.items(options_, theirs.epoch));
}

void Start::finetune(const fs::path& path) {
  const auto checkpoint = load(path, /*with_optimizer=*/false);
  const auto& state = checkpoint.state;
  check_dictionaries(state.model, data_.task->source_dictionary(), data_.task->target_dictionary(),
                     path);
  const bool shared = state.evolution.shared_expert;
  const bool becomes_experts = has_experts(options_) && is_dense(checkpoint.model);
  if (has_experts(options_) && !becomes_experts)
    check_spawn(shared, options_, /*completed_updates=*/0, path);
  const auto other = model_differences(state, options_);
  begin_with(checkpoint.model, shared, "checkpoint " + path.string(),
             other.empty() ? kOtherModelRemedy
                           : fmt::format("these options make another model than those of its run "
                                         "({}); use the values of that run",
                                         other));
  if (!other.empty() && !becomes_experts)
    log().warn("its weights were trained in another model: {}", other);
}

void Start::resume(const fs::path& path) {
  const auto& flags = options_.checkpoint;
  const bool with_optimizer = !flags.reset_optimizer;
  auto checkpoint = load(path, with_optimizer);
  auto& state = checkpoint.state;
  // As in fairseq, updates are counted anew where the optimiser starts anew.
  const auto updates = with_optimizer ? state.updates : 0;
  check_dictionaries(state.model, data_.task->source_dictionary(), data_.task->target_dictionary(),
                     path);
  const auto changed =
      check_resume(checkpoint, options_, data_.items(options_, state.data.epoch), path);
  if (has_experts(options_)) check_spawn(state.evolution.shared_expert, options_, updates, path);
  const auto experts = stored_model_options(state).moe.moe_expert_count;
  if (has_experts(options_)) check_experts(experts, options_, updates, path);
  make_trainer(updates, state.evolution.shared_expert, has_experts(options_) ? experts : 0);
  auto& trainer = *start_.trainer;
  trainer.load_model_state(checkpoint.model, "checkpoint " + path.string(), kOtherModelRemedy);
  if (with_optimizer) {
    EVOMOE_CHECK(!checkpoint.optimizer.empty(),
                 "{}: it was saved without the optimiser's state (--no-save-optimizer-state), so "
                 "the run cannot go on from it; start anew "
                 "from its model with --finetune-from-model, or pass --reset-optimizer",
                 path.string());
    check_optimizer_state(stored_options(state), options_, path);
    trainer.load_optimizer_state(checkpoint.optimizer);
  }
  start_.path = path;
  if (!flags.reset_dataloader) {
    start_.epoch = state.data.epoch;
    start_.offset = state.data.offset;
  }
  log().info("goes on from {} (epoch {}, {} updates)", path.string(), start_.epoch, updates);
  if (!changed.empty()) log().info("other than in that run: {}", changed);
  if (!flags.reset_meters) start_.meters = std::move(state);
}

}  // namespace

StartingPoint find_starting_point(const TrainOptions& options, const MemoryPlanner& memory,
                                  const RunData& data, torch::Device device, RankGroups ranks) {
  return Start(options, memory, data, device, std::move(ranks)).find();
}

}  // namespace evomoe
