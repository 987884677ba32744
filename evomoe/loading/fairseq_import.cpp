#include "evomoe/loading/fairseq_import.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/checkpoint/checkpoint_manager.h"
#include "evomoe/config/option_table.h"
#include "evomoe/data/data_folders.h"
#include "evomoe/fairseq/fairseq_optimizer.h"
#include "evomoe/fairseq/fairseq_part.h"
#include "evomoe/loading/loaded_model.h"
#include "evomoe/loading/run_folder.h"
#include "evomoe/loading/stored_state.h"
#include "evomoe/report/meters.h"
#include "evomoe/train/load_into.h"
#include "evomoe/train/settings.h"
#include "evomoe/train/task.h"
#include "evomoe/train/trainer.h"

namespace evomoe {
namespace {

using Dict = PickleValue::Dict;
using List = PickleValue::List;

/// A value as one writes it on a command line; nothing for None.
std::optional<std::string> written(const PickleValue& given, bool integer) {
  if (const auto* flag = given.get_if<bool>()) return *flag ? "true" : "false";
  if (const auto* number = given.get_if<int64_t>()) return std::to_string(*number);
  if (const auto* number = given.get_if<double>()) {
    if (integer && *number == std::floor(*number))
      return std::to_string(static_cast<int64_t>(*number));
    return fmt::format("{}", *number);
  }
  if (const auto* words = given.get_if<std::string>()) return *words;
  if (const auto* list = given.get_if<List>()) {
    std::string elements;
    for (const auto& element : *list) {
      const auto one = written(element, integer);
      if (one) elements += (elements.empty() ? "" : ",") + *one;
    }
    return elements;
  }
  return std::nullopt;
}

/// Error where an option's value was skipped when the file was read: it may be no default.
void check_is_read(const PickleValue& value, const std::string& key, const std::string& file) {
  if (value.get_if<OpaqueValue>() != nullptr) fail_kind(value, key, "a plain value", file);
  if (const auto* list = value.get_if<List>()) {
    for (const auto& element : *list) check_is_read(element, key, file);
  }
}

/// Groups whose options are about the run, not about a call or its machine. Where two have the same
/// option, the later one counts.
constexpr const char* kGroupsOfTheRun[] = {"common",     "dataset",   "optimization",
                                           "checkpoint", "model",     "task",
                                           "criterion",  "optimizer", "lr_scheduler"};

/// Where things lie, where the run began and what is measured (their --profile is a flag) is a
/// matter of this call.
bool is_of_the_call(const Option& option) {
  static const std::set<std::string> names = {
      "data",         "save-dir",         "restore-file",   "finetune-from-model",
      "reset-meters", "reset-dataloader", "reset-optimizer"};
  return names.contains(option.name()) || option.group() == "resources";
}

/// How many processes trained it.
int64_t processes_of(const FairseqCheckpoint& theirs) {
  const auto* group = theirs.cfg.find("distributed_training");
  if (group == nullptr) return 1;
  return std::max<int64_t>(
      entry_or<int64_t>(*group, "distributed_training", "distributed_world_size", 1, theirs.file),
      1);
}

/// The arguments of `evomoe train` that say the same as one group of theirs.
void add_group(const OptionTable& table, const std::string& group, const Dict& options,
               const std::string& file, std::vector<std::string>& arguments) {
  for (size_t i = 0; i < options.keys.size(); ++i) {
    const auto* key = options.keys[i].get_if<std::string>();
    if (key == nullptr) continue;
    const auto* option = table.option_in(group, *key);
    // An older name of an option (relu_dropout) stands beside the newer one.
    if (option == nullptr || (*key != "_name" && option->key() != *key)) continue;
    if (is_of_the_call(*option)) continue;
    const bool integer =
        option->type() == OptionType::kInteger || option->type() == OptionType::kIntegerList;
    check_is_read(options.values[i], *key, file);
    const auto given = written(options.values[i], integer);
    if (!given || given->empty()) continue;
    if (option->type() == OptionType::kFlag) {
      if (*given == "true") arguments.push_back("--" + option->name());
    } else {
      arguments.push_back("--" + option->name() + "=" + *given);
    }
  }
}

/// The groups of their options, or an Error that tells what the file has instead.
const PickleValue& cfg_of(const FairseqCheckpoint& theirs) {
  const auto& cfg = theirs.cfg;
  if (cfg.get_if<OpaqueValue>() != nullptr) fail_kind(cfg, "cfg", "a dict", theirs.file);
  if (cfg.find("model") != nullptr) return cfg;
  EVOMOE_CHECK(
      cfg.find("arch") == nullptr,
      "{}: its options lie in `args` and not by group in `cfg`, as before fairseq 1.0; load "
      "and save it with fairseq 1.0 once",
      theirs.file);
  fail(
      "{}: it does not say with which options its model was made (neither `cfg` nor `args`), as "
      "checkpoints of fairseq do; save its weights as safetensors, with fairseq's names, and give "
      "them to evomoe train with --init-from and the options",
      theirs.file);
}

/// The command line of `evomoe train` that says the same, without the data folder.
std::vector<std::string> arguments_of(const FairseqCheckpoint& theirs, const OptionTable& table,
                                      bool weights_only) {
  const auto& cfg = cfg_of(theirs);
  std::vector<std::string> arguments;
  for (const std::string group : kGroupsOfTheRun) {
    if (weights_only && (group == "optimizer" || group == "lr_scheduler")) continue;
    const auto* options = cfg.find(group);
    if (options != nullptr && options->get_if<std::monostate>() == nullptr)
      add_group(table, group, as<Dict>(*options, group, theirs.file), theirs.file, arguments);
  }
  const auto is_true = [&](const char* flag) {
    return entry_or(*cfg.find("model"), "model", flag, false, theirs.file);
  };
  if (is_true("moe_top1_expert")) {
    arguments.emplace_back("--moe-top1-expert");
  } else if (is_true("moe_topk_expert")) {
    arguments.emplace_back("--moe-topk-expert");
  }
  return arguments;
}

/// Its data folder, which must be there.
std::string own_data(const FairseqCheckpoint& theirs) {
  const auto* task = theirs.cfg.find("task");
  const auto* data = task == nullptr ? nullptr : task->find("data");
  EVOMOE_CHECK(data != nullptr,
               "{}: it does not say which data it was trained on; give the data "
               "folder (DATA; convert: --data)",
               theirs.file);
  const auto& folder = as<std::string>(*data, "data", theirs.file);
  EVOMOE_CHECK(std::filesystem::is_directory(split_data_paths(folder).front()),
               "{}: it was trained on the data folder {}, which is not here; give the data folder "
               "(DATA; convert: --data)",
               theirs.file, folder);
  return folder;
}

}  // namespace

TrainOptions options_of_fairseq(const FairseqCheckpoint& theirs, const std::string& data,
                                bool weights_only) {
  TrainOptions options;
  OptionTable table("train", "");
  options.describe(table);
  auto arguments = arguments_of(theirs, table, weights_only);
  arguments.push_back(data.empty() ? own_data(theirs) : data);
  try {
    table.parse(arguments);
  } catch (const UsageError& error) {
    std::string remedy;
    if (!weights_only) {
      try {
        options_of_fairseq(theirs, data, /*weights_only=*/true);
        remedy = std::string("; ") + kFairseqOptimizerRemedy;
      } catch (const Error&) {
        // It is not the optimizer or its learning rate.
      }
    }
    fail("{}: its options cannot be ours: {}{}", theirs.file, error.what(), remedy);
  }
  for (auto& together : options.optimization.update_freq) together *= processes_of(theirs);
  return options;
}

Checkpoint checkpoint_of_fairseq(const FairseqCheckpoint& theirs, const TrainOptions& options,
                                 const Dictionary& source, const Dictionary& target,
                                 int64_t training_items) {
  Checkpoint ours;
  ours.model = theirs.model;
  ours.optimizer = theirs.optimizer;
  auto& state = ours.state;
  state.config = stored_config(options);
  state.updates = theirs.updates;
  // Their processes take turns in the same batches.
  state.data = {.epoch = theirs.epoch,
                .offset = theirs.iterations_in_epoch * processes_of(theirs),
                .items = training_items};
  state.evolution = evolution_record(stage_at(options.evolution, theirs.updates),
                                     /*shared_expert=*/false);
  state.model = model_record(source, target);
  state.progress.seconds = theirs.seconds;
  state.progress.meters = Metrics().state();
  if (theirs.best) {
    state.saved = {.moment = {},
                   .best_metric = options.checkpoint.best_checkpoint_metric,
                   .maximize_best = options.checkpoint.maximize_best_checkpoint_metric,
                   .metric = {},
                   .best = theirs.best};
  }
  return ours;
}

namespace {

/// All options where we have them, else those but for the optimizer and its learning rate.
TrainOptions options_without_optimizer(const FairseqCheckpoint& theirs, const std::string& data) {
  try {
    return options_of_fairseq(theirs, data);
  } catch (const Error&) {
    auto options = options_of_fairseq(theirs, data, /*weights_only=*/true);
    log().warn(
        "{}: its optimizer or learning-rate schedule is not one of ours, so the run has the "
        "defaults; give --lr, --lr-scheduler and --warmup-updates when it goes on",
        theirs.file);
    return options;
  }
}

}  // namespace

TrainOptions import_fairseq_run(const FairseqCheckpoint& theirs, const std::string& data,
                                const std::filesystem::path& folder, bool weights_only) {
  auto options =
      weights_only ? options_without_optimizer(theirs, data) : options_of_fairseq(theirs, data);
  options.checkpoint.save_dir = folder.string();
  check_settings(options);
  const auto task = open_task_data(options.data, options);
  auto ours =
      checkpoint_of_fairseq(theirs, options, task->source_dictionary(), task->target_dictionary(),
                            task->train(theirs.epoch, options.dataset.train_subset)->size());
  const auto model = make_model(options, vocabulary_of(*task), /*shared_expert=*/false);
  load_into(named_state(*model), ours.model, "checkpoint " + theirs.file, kOtherModelRemedy);
  ours.model.clear();
  for (const auto& [name, tensor] : named_state(*model)) ours.model[name] = tensor.detach();

  SaveRequest request;
  request.epoch = theirs.epoch;
  request.updates = theirs.updates;
  CheckpointPolicy policy;
  policy.best_metric = options.checkpoint.best_checkpoint_metric;
  policy.maximize_best = options.checkpoint.maximize_best_checkpoint_metric;
  CheckpointManager manager(folder, policy);
  manager.restore(ours.state);
  manager.save(request, ours);
  manager.finish();
  write_run_folder(options, folder);
  return options;
}

}  // namespace evomoe
