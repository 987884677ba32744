#include "evomoe/loading/fairseq_export.h"

#include <fmt/ranges.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/checkpoint/checkpoint.h"
#include "evomoe/config/option_table.h"
#include "evomoe/fairseq/fairseq_names.h"
#include "evomoe/fairseq/pickle_value.h"
#include "evomoe/fairseq/torch_file_writer.h"
#include "evomoe/loading/stored_state.h"
#include "evomoe/optim/update_rule.h"
#include "evomoe/train/model_family.h"
#include "evomoe/train/optimizer_settings.h"
#include "evomoe/train/settings.h"
#include "evomoe/train/task.h"
#include "evomoe/train/trainer.h"

namespace evomoe {
namespace {

using Dict = PickleValue::Dict;
using List = PickleValue::List;

PickleValue value(auto plain) {
  PickleValue made;
  made.value = std::move(plain);
  return made;
}

PickleValue text(const std::string& plain) { return value(plain); }

void put(Dict& dict, const std::string& key, PickleValue entry) {
  dict.keys.push_back(text(key));
  dict.values.push_back(std::move(entry));
}

/// One tensor of theirs, in the order of their optimiser.
struct TheirTensor {
  std::string name;
  bool expert = false;
  std::string ours;    ///< name of the tensor it is, or is a slice of
  int64_t index = -1;  ///< of the slice; -1: the whole
};

std::vector<TheirTensor> their_parameters(const Model& model) {
  const std::string experts = ".moe_layer.experts.";
  std::map<std::string, TheirTensor> all;
  std::vector<std::string> names;
  const auto add = [&](TheirTensor tensor) {
    names.push_back(tensor.name);
    all[tensor.name] = std::move(tensor);
  };
  for (const auto& item : model.named_parameters()) {
    const auto at = item.key().find(experts);
    if (at == std::string::npos) {
      add({item.key(), false, item.key(), -1});
      continue;
    }
    const auto bank = item.key().substr(0, at + experts.size());
    for_each_weight(
        [&](const char* ours, const char* theirs) {
          if (item.key() != bank + ours) return;
          EVOMOE_CHECK(theirs != nullptr,
                       "fairseq has no gated experts, so that {} cannot be written for it",
                       item.key());
          for (int64_t e = 0; e < item.value().size(0); ++e)
            add({fmt::format("{}{}.{}", bank, e, theirs), true, item.key(), e});
        },
        kExpertWeightNames, kFairseqWeightNames);
  }
  std::vector<TheirTensor> ordered;
  for (const auto& name : in_parameter_order(std::move(names))) ordered.push_back(all.at(name));
  return ordered;
}

torch::Tensor piece(const torch::Tensor& tensor, const TheirTensor& part) {
  const auto of = part.index < 0 ? tensor : tensor[part.index];
  return of.detach().to(torch::kCPU).contiguous();
}

PickleValue plain_value(const nlohmann::json& json) {
  if (json.is_boolean()) return value(json.get<bool>());
  if (json.is_number_integer()) return value(json.get<int64_t>());
  if (json.is_number()) return value(json.get<double>());
  if (json.is_string()) return text(json.get<std::string>());
  if (json.is_array()) {
    List list;
    for (const auto& element : json) list.push_back(plain_value(element));
    return value(std::move(list));
  }
  return {};
}

std::vector<double> numbers_of(const Option& option) {
  return option.value().get<std::vector<double>>();
}

/// The group of parameters in the optimiser's state.
Dict their_group(const OptimizerOptions& options, double lr, List numbers) {
  Dict group;
  put(group, "lr", value(lr));
  if (options.optimizer == AdafactorOptions::kMethod) {
    const auto& own = options.of<AdafactorOptions>();
    put(group, "eps", plain_value(nlohmann::json(own.adafactor_eps)));
    put(group, "clip_threshold", value(own.clip_threshold));
    put(group, "decay_rate", value(own.decay_rate));
    put(group, "beta1", own.beta1 ? value(*own.beta1) : PickleValue());
    put(group, "weight_decay", value(options.weight_decay));
    put(group, "scale_parameter", value(own.scale_parameter));
    put(group, "relative_step", value(own.relative_step));
    put(group, "warmup_init", value(own.warmup_init));
  } else {
    const auto& own = options.of<AdamOptions>();
    put(group, "betas", plain_value(nlohmann::json(own.betas)));
    put(group, "eps", value(own.eps));
    put(group, "weight_decay", value(options.weight_decay));
    put(group, "amsgrad", value(false));
  }
  put(group, "params", value(std::move(numbers)));
  return group;
}

/// The optimiser's state of one tensor of theirs, of the weights `weight`. Of a parameter that was
/// never updated it is what the optimiser begins with.
Dict their_state(const UpdateRule& rule, const TensorMap& state, const TheirTensor& part,
                 const torch::Tensor& weight) {
  const auto step = state.at(part.ours + ".step").item<int64_t>();
  Dict theirs;
  put(theirs, "step", value(step));
  const auto kind = part.expert ? ParameterKind::kExpert : ParameterKind::kMatrix;
  // An expert of theirs is a parameter alone: its slots are those of a stack of one.
  const auto sizes = part.expert ? weight.unsqueeze(0).sizes().vec() : weight.sizes().vec();
  for (const auto& slot : rule.slots(kind, sizes)) {
    auto own_sizes = slot.sizes;
    if (part.expert) own_sizes.erase(own_sizes.begin());
    put(theirs, slot.name,
        value(step > 0 ? piece(state.at(part.ours + "." + slot.name), part)
                       : torch::zeros(own_sizes)));
  }
  // It makes it anew before it uses it.
  if (rule.name() == AdafactorOptions::kMethod)
    put(theirs, "RMS", value(torch::sqrt(weight.square().mean())));
  return theirs;
}

/// Our options in their groups.
PickleValue their_cfg(TrainOptions options) {
  if (const auto theirs = find_task(options.task.task).fairseq_name(); !theirs.empty())
    options.task.task = theirs;
  OptionTable table("train", "");
  options.describe(table);
  std::map<std::string, Dict> groups;
  static const std::map<std::string, std::string> theirs = {
      {"", "task"}, {"moe", "model"}, {"evolution", "optimization"}, {"resources", "common"}};
  // What other optimisers have is left out.
  const auto& method = options.optimizer.optimizer;
  const auto is_of_optimizer = [&](const Option& option) {
    const auto& condition = option.condition();
    return option.key() == "weight_decay" ||
           (condition.option == "optimizer" && condition.values.front() == method);
  };
  for (const auto& option : table.options()) {
    const auto key = option->key();
    auto group = theirs.contains(option->group()) ? theirs.at(option->group()) : option->group();
    const bool of_optimizer = is_of_optimizer(*option);
    if (!of_optimizer && option->condition().option == "optimizer") continue;
    if (of_optimizer) group = "optimizer";
    if (schedule_options().contains(option->name())) group = "lr_scheduler";
    if (key == "task" || key == "arch" || key == "criterion" || key == "optimizer" ||
        key == "lr_scheduler") {
      const auto of = key == "arch" ? "model" : key;
      put(groups[of], "_name", plain_value(option->value()));
    } else if (of_optimizer && option->is_list()) {
      // As Python's eval() takes it.
      put(groups[group], key, text(fmt::format("({})", fmt::join(numbers_of(*option), ", "))));
    } else if (key == "moe_router") {
      const auto& router = options.moe.moe_router;
      put(groups["model"], "moe_top1_expert", value(router == "switch"));
      put(groups["model"], "moe_topk_expert", value(router == "dts"));
    } else if (key == "regression_target" || key == "classification_head_name") {
      for (const auto* of : {"task", "criterion"})
        put(groups[of], key, plain_value(option->value()));
    } else if (key == "valid_subset") {
      put(groups[group], key,
          text(fmt::format("{}", fmt::join(options.dataset.valid_subset, ","))));
    } else {
      put(groups[group], key, plain_value(option->value()));
    }
  }
  put(groups["optimizer"], "lr", plain_value(nlohmann::json(options.optimization.lr)));
  put(groups["lr_scheduler"], "lr", plain_value(nlohmann::json(options.optimization.lr)));
  Dict cfg;
  for (auto& [name, group] : groups) put(cfg, name, value(std::move(group)));
  return value(std::move(cfg));
}

std::string criterion_class(const std::string& name) {
  static const std::map<std::string, std::string> classes = {
      {"cross_entropy", "CrossEntropyCriterion"},
      {"moe_cross_entropy", "MoECrossEntropyCriterion"},
      {"masked_lm", "MaskedLmLoss"},
      {"moe_masked_lm", "MoEMaskedLmLoss"},
      {"label_smoothed_cross_entropy", "LabelSmoothedCrossEntropyCriterion"},
      {"moe_label_smoothed_cross_entropy", "MoELabelSmoothedCrossEntropyCriterion"},
      {"sentence_prediction", "SentencePredictionCriterion"},
      {"adaptive_loss", "AdaptiveLoss"}};
  const auto found = classes.find(name);
  return found == classes.end() ? name : found->second;
}

}  // namespace

std::vector<std::filesystem::path> export_fairseq_run(const std::filesystem::path& checkpoint,
                                                      const std::filesystem::path& path,
                                                      bool with_optimizer) {
  const auto ours = load_checkpoint(checkpoint, with_optimizer);
  const auto options = stored_model_options(ours.state);
  const auto& router = options.moe.moe_router;
  const bool experts = has_experts(options);
  const auto& moe = options.moe;
  if (experts && (moe.moe_shared_expert_hidden_dim > 0 || moe.moe_expert_hidden_dim > 0)) {
    const bool shared = moe.moe_shared_expert_hidden_dim > 0;
    fail_usage(
        "{}: the authors' code has {}, so that no checkpoint of it can hold this model "
        "(--moe-{}expert-hidden-dim {})",
        checkpoint.string(),
        shared ? "no shared expert beside the routed ones"
               : "experts of the width of a dense layer only",
        shared ? "shared-" : "",
        shared ? moe.moe_shared_expert_hidden_dim : moe.moe_expert_hidden_dim);
  }
  for (const auto& stack :
       stack_options(options, stored_vocabulary(ours.state.model), /*shared_expert=*/false)) {
    const auto ours_alone = beyond_reference(stack);
    if (ours_alone.empty()) continue;
    fail_usage("{}: fairseq has no word for {} of its {}, so that it cannot be written for it",
               checkpoint.string(), fmt::join(ours_alone, ", "), stack.half);
  }
  if (experts && router != "switch" && router != "dts" && router != "gshard") {
    fail_usage(
        "{}: the authors' code has no routing method like --moe-router {}; it has switch, "
        "gshard and dts",
        checkpoint.string(), router);
  }
  EVOMOE_CHECK(
      !ours.state.evolution.shared_expert,
      "{}: it is in the shared-expert stage, which the authors' code does not have; convert "
      "a later checkpoint",
      checkpoint.string());
  const auto& method = options.optimizer.optimizer;
  if (!ours.optimizer.empty() && method != AdamOptions::kMethod &&
      method != AdafactorOptions::kMethod) {
    fail_usage(
        "{}: fairseq has no optimiser like --optimizer {}, so that it cannot go on from this "
        "state; "
        "convert the weights alone with --no-save-optimizer-state",
        checkpoint.string(), method);
  }
  if (!ours.optimizer.empty() && options.optimization.lr_scheduler == "wsd") {
    fail_usage(
        "{}: fairseq has no learning-rate schedule like --lr-scheduler wsd, so that it cannot go "
        "on from this state; convert the weights alone with --no-save-optimizer-state",
        checkpoint.string());
  }
  const double rewarmup = experts ? rewarmup_factor(options.evolution, ours.state.updates) : 1.0;
  if (!ours.optimizer.empty() && rewarmup < 1.0) {
    log().warn(
        "{}: it is in the second warm-up of --lr-rewarmup-updates {}, which fairseq does not have: "
        "there the schedule goes on without it",
        checkpoint.string(), options.evolution.lr_rewarmup_updates);
  }
  if (!ours.optimizer.empty() && !options.optimizer.lr_factor.empty()) {
    log().warn(
        "{}: it was trained with --lr-factor {}, which fairseq does not have: there all parameters "
        "go on with one learning rate",
        checkpoint.string(), fmt::join(options.optimizer.lr_factor, ","));
  }
  if (!ours.optimizer.empty() && !options.optimizer.freeze.empty()) {
    fail_usage(
        "{}: it was trained with --freeze {}, so that its optimiser has no state of these, and "
        "fairseq wants one of every parameter; convert the weights alone with "
        "--no-save-optimizer-state",
        checkpoint.string(), fmt::join(options.optimizer.freeze, ","));
  }
  if (!ours.optimizer.empty() && sets_own_learning_rate(options)) {
    log().warn(
        "{}: it was trained with --relative-step, which fairseq refuses beside a learning rate, "
        "and "
        "its --lr always has one; go on there without it and with a --lr of your choice",
        checkpoint.string());
  }
  const auto rule = options.optimizer.make_rule();
  const auto model =
      make_model(options, stored_vocabulary(ours.state.model), /*shared_expert=*/false);
  const auto parameters = their_parameters(*model);
  const auto updates = ours.state.updates;

  const auto file_of = [&](bool expert_part, bool whole) {
    Dict state, moments;
    List numbers;
    for (size_t i = 0; i < parameters.size(); ++i) {
      const auto& part = parameters[i];
      numbers.push_back(value(static_cast<int64_t>(i)));
      if (!whole && part.expert != expert_part) continue;
      put(state, part.name, value(piece(ours.model.at(part.ours), part)));
      if (ours.optimizer.empty()) continue;
      moments.keys.push_back(value(static_cast<int64_t>(i)));
      moments.values.push_back(
          value(their_state(*rule, ours.optimizer, part, piece(ours.model.at(part.ours), part))));
    }
    if (whole || !expert_part) {
      for (auto& [name, tensor] : family_of(options).fairseq_extras(ours.model))
        put(state, name, value(std::move(tensor)));
    }
    const auto& progress = ours.state.progress;
    const Spent spent{progress.tokens, progress.flops, progress.seconds};
    const auto scheduled =
        lr_at(options.optimization.schedule(updates, spent), updates, ours.state.data.epoch) *
        rewarmup;
    const auto lr = rule->learning_rate(scheduled, std::max<int64_t>(updates, 1));
    auto group = their_group(options.optimizer, lr, std::move(numbers));
    Dict optimizer;
    put(optimizer, "state", value(std::move(moments)));
    put(optimizer, "param_groups", value(List{value(std::move(group))}));

    Dict history, schedule;
    put(history, "criterion_name", text(criterion_class(options.criterion.criterion)));
    put(history, "optimizer_name",
        text(method == AdafactorOptions::kMethod ? "FairseqAdafactor" : "FairseqAdam"));
    const auto best = ours.state.saved ? ours.state.saved->best : std::nullopt;
    put(schedule, "best", best ? value(*best) : PickleValue());
    put(history, "lr_scheduler_state", value(std::move(schedule)));
    put(history, "num_updates", value(updates));

    Dict iterator, extra;
    put(iterator, "version", value(int64_t{2}));
    put(iterator, "epoch", value(ours.state.data.epoch));
    // Theirs counts the batches of one process.
    put(iterator, "iterations_in_epoch",
        value(ours.state.data.offset / options.distributed.distributed_world_size));
    put(iterator, "shuffle", value(true));
    put(extra, "metrics", value(Dict{}));
    put(extra, "previous_training_time", value(ours.state.progress.seconds));
    put(extra, "train_iterator", value(std::move(iterator)));
    if (best) {
      put(extra, "val_loss", value(*best));
      put(extra, "best", value(*best));
    }

    Dict file;
    put(file, "args", {});
    put(file, "cfg", their_cfg(options));
    put(file, "model", value(std::move(state)));
    put(file, "criterion", {});
    put(file, "optimizer_history", value(List{value(std::move(history))}));
    put(file, "task_state", value(Dict{}));
    put(file, "extra_state", value(std::move(extra)));
    if (!ours.optimizer.empty()) put(file, "last_optimizer_state", value(std::move(optimizer)));
    return value(std::move(file));
  };

  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path());
  if (!experts) {
    write_torch_file(path, file_of(false, /*whole=*/true));
    return {path};
  }
  const auto stem = path.parent_path() / path.stem();
  const std::vector<std::filesystem::path> files = {stem.string() + "-rank-0.pt",
                                                    stem.string() + "-shared.pt"};
  write_torch_file(files[0], file_of(/*expert_part=*/true, /*whole=*/false));
  write_torch_file(files[1], file_of(/*expert_part=*/false, /*whole=*/false));
  return files;
}

}  // namespace evomoe
