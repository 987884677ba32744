#include "evomoe/train/fairseq_import.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/checkpoint/checkpoint_manager.h"
#include "evomoe/checkpoint/load_into.h"
#include "evomoe/config/describe.h"
#include "evomoe/data/data_folders.h"
#include "evomoe/report/meters.h"
#include "evomoe/train/resume.h"
#include "evomoe/train/run_folder.h"
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

bool is_true(const PickleValue* flag) {
  const auto* truth = flag == nullptr ? nullptr : flag->get_if<bool>();
  return truth != nullptr && *truth;
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
int64_t processes_of(const PickleValue& cfg) {
  const auto* group = cfg.find("distributed_training");
  const auto* size = group == nullptr ? nullptr : group->find("distributed_world_size");
  const auto* number = size == nullptr ? nullptr : size->get_if<int64_t>();
  return number == nullptr ? 1 : std::max<int64_t>(*number, 1);
}

/// The arguments of `evomoe train` that say the same as one group of theirs.
void add_group(const OptionTable& table, const std::string& group, const Dict& options,
               std::vector<std::string>& arguments) {
  for (size_t i = 0; i < options.keys.size(); ++i) {
    const auto* key = options.keys[i].get_if<std::string>();
    if (key == nullptr) continue;
    const auto* option = table.option_in(group, *key);
    // An older name of an option (relu_dropout) stands beside the newer one.
    if (option == nullptr || (*key != "_name" && option->key() != *key)) continue;
    if (is_of_the_call(*option)) continue;
    const bool integer =
        option->type() == OptionType::kInteger || option->type() == OptionType::kIntegerList;
    const auto given = written(options.values[i], integer);
    if (!given || given->empty()) continue;
    if (option->type() == OptionType::kFlag) {
      if (*given == "true") arguments.push_back("--" + option->name());
    } else {
      arguments.push_back("--" + option->name() + "=" + *given);
    }
  }
}

}  // namespace

TrainOptions options_of_fairseq(const FairseqCheckpoint& theirs, const std::string& data,
                                bool weights_only) {
  const auto& cfg = theirs.cfg;
  const auto* model = cfg.find("model");
  EVOMOE_CHECK(model != nullptr && model->get_if<Dict>() != nullptr,
               "{}: it has no options by group (`cfg`), as checkpoints of before fairseq 1.0; load "
               "and save it with the authors' code once",
               theirs.file);
  TrainOptions options;
  OptionTable table("train", "");
  describe(table, options);
  std::vector<std::string> arguments;
  for (const std::string group : kGroupsOfTheRun) {
    if (weights_only && (group == "optimizer" || group == "lr_scheduler")) continue;
    const auto* found = cfg.find(group);
    const auto* dict = found == nullptr ? nullptr : found->get_if<Dict>();
    if (dict != nullptr) add_group(table, group, *dict, arguments);
  }
  if (is_true(model->find("moe_top1_expert"))) {
    arguments.emplace_back("--moe-top1-expert");
  } else if (is_true(model->find("moe_topk_expert"))) {
    arguments.emplace_back("--moe-topk-expert");
  }
  const auto* task = cfg.find("task");
  const auto* own_data = task == nullptr ? nullptr : task->find("data");
  const auto* folder = own_data == nullptr ? nullptr : own_data->get_if<std::string>();
  EVOMOE_CHECK(!data.empty() || folder != nullptr,
               "{}: it does not say which data it was trained on; give the data folder",
               theirs.file);
  EVOMOE_CHECK(!data.empty() || std::filesystem::is_directory(split_data_paths(*folder).front()),
               "{}: it was trained on the data folder {}, which is not here; give the data folder "
               "(DATA; convert: --data)",
               theirs.file, *folder);
  arguments.push_back(data.empty() ? *folder : data);
  try {
    table.parse(arguments);
  } catch (const UsageError& error) {
    fail("{}: its options cannot be ours: {}", theirs.file, error.what());
  }
  for (auto& together : options.optimization.update_freq) together *= processes_of(cfg);
  return options;
}

Checkpoint checkpoint_of_fairseq(const FairseqCheckpoint& theirs, TrainOptions options,
                                 const Dictionary& source, const Dictionary& target,
                                 int64_t training_items) {
  Checkpoint ours;
  ours.model = theirs.model;
  ours.optimizer = theirs.optimizer;

  OptionTable table("train", "");
  describe(table, options);
  auto& manifest = ours.manifest;
  manifest["config"] = table.to_json();
  manifest["counters"] = {{"updates", theirs.updates}};
  // Their processes take turns in the same batches.
  manifest["data"] = {{"epoch", theirs.epoch},
                      {"offset", theirs.iterations_in_epoch * processes_of(theirs.cfg)},
                      {"items", training_items}};
  const auto stage = stage_at(evolution_options(options), theirs.updates);
  manifest["evolution"] = {{"stage", stage_name(stage.stage)},
                           {"shared_expert", false},
                           {"temperature", stage.schedule.temperature},
                           {"hard", stage.schedule.hard}};
  manifest["model"] = model_section(source, target);
  manifest["progress"] = {
      {"seconds", theirs.seconds}, {"flops", 0.0}, {"tokens", 0.0}, {"meters", Metrics().state()}};
  manifest["patience"] = {{"used", 0}, {"best", nullptr}};
  if (theirs.best) {
    manifest["checkpoint"] = {{"best_metric", options.checkpoint.best_checkpoint_metric},
                              {"maximize_best", options.checkpoint.maximize_best_checkpoint_metric},
                              {"best", *theirs.best}};
  }
  return ours;
}

TrainOptions import_fairseq_run(const FairseqCheckpoint& theirs, const std::string& data,
                                const std::filesystem::path& folder) {
  auto options = options_of_fairseq(theirs, data);
  options.checkpoint.save_dir = folder.string();
  check_settings(options);
  const auto task = open_task_data(options.data, options);
  auto ours =
      checkpoint_of_fairseq(theirs, options, task->source_dictionary(), task->target_dictionary(),
                            task->train(theirs.epoch, options.dataset.train_subset)->size());
  const auto model = make_model(options, vocabulary_of(*task), /*shared_expert=*/false);
  load_into(named_state(*model), ours.model, "checkpoint " + theirs.file);

  SaveRequest request;
  request.epoch = theirs.epoch;
  request.updates = theirs.updates;
  CheckpointPolicy policy;
  policy.best_metric = options.checkpoint.best_checkpoint_metric;
  policy.maximize_best = options.checkpoint.maximize_best_checkpoint_metric;
  CheckpointManager manager(folder, policy);
  manager.restore(ours.manifest);
  ours.manifest.erase("checkpoint");  // the manager's to write
  manager.save(request, ours);
  manager.finish();
  write_run_folder(options, folder);
  return options;
}

}  // namespace evomoe
