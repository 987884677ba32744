#include "evomoe/fairseq/fairseq_optimizer.h"

#include <cmath>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/fairseq/fairseq_part.h"

namespace evomoe {
namespace {

using List = PickleValue::List;
using Dict = PickleValue::Dict;

void check_entries(const PickleValue& value, const std::set<std::string>& known,
                   const std::string& what, const std::string& file) {
  const auto& dict = as<Dict>(value, what, file);
  for (const auto& key : dict.keys) {
    const auto* name = key.get_if<std::string>();
    EVOMOE_CHECK(name != nullptr && known.contains(*name),
                 "{}: {} has {}, which may change what the moments mean and is not known; {}", file,
                 what, name != nullptr ? "an entry '" + *name + "'" : "a key that is not a string",
                 kFairseqOptimizerRemedy);
  }
}

/// adam or adafactor.
std::string method_of(const PickleValue& root, const std::string& file) {
  const auto* cfg = root.find("cfg");
  const auto* group = cfg == nullptr ? nullptr : cfg->find("optimizer");
  const auto* name = group == nullptr ? nullptr : group->find("_name");
  const auto* text = name == nullptr ? nullptr : name->get_if<std::string>();
  if (text == nullptr || *text == "adam" || *text == "cpu_adam") return "adam";
  EVOMOE_CHECK(*text == "adafactor",
               "{}: it was trained with --optimizer {}, whose state is none of Adam's or "
               "Adafactor's; {}",
               file, *text, kFairseqOptimizerRemedy);
  return *text;
}

/// Where fairscale gathered the state of several nested instances, positions follow the instances
/// and not the model.
void check_numbering(const PickleValue& optimizer, const std::string& file) {
  const auto* instances = optimizer.find("param_id_map");
  const auto* map = instances == nullptr ? nullptr : instances->get_if<Dict>();
  if (map == nullptr) return;
  for (const auto& instance : map->values) {
    EVOMOE_CHECK(integer_or(&instance, 0) == 0,
                 "{}: its optimizer state was gathered from shards and is numbered in an order "
                 "that the file does not tell; train with --use-sharded-state, whose files are "
                 "read, or save with --no-save-optimizer-state to convert the weights alone",
                 file);
  }
}

/// What the options of the group make of Adam: those of the run and of the learning rate are the
/// run's to know, the others must be those of Adam as the reference has it.
void check_group(const PickleValue& group, const std::string& method, const std::string& file) {
  if (method == "adafactor") {
    check_entries(group,
                  {"params", "lr", "initial_lr", "eps", "clip_threshold", "decay_rate", "beta1",
                   "weight_decay", "scale_parameter", "relative_step", "warmup_init"},
                  "the optimizer's group of parameters", file);
    return;
  }
  check_entries(group,
                {"params", "lr", "initial_lr", "betas", "eps", "weight_decay", "step", "amsgrad",
                 "maximize", "max_grad_norm", "bias_correction", "decoupled_weight_decay",
                 "use_fp16_stats", "foreach", "fused", "capturable", "differentiable"},
                "the optimizer's group of parameters", file);
  const auto is = [&](const char* name, double otherwise) {
    return number_of(group.find(name)).value_or(otherwise) != 0;
  };
  const auto refuse = [&](const char* name, const char* what) {
    fail("{}: the optimizer's '{}' {}; {}", file, name, what, kFairseqOptimizerRemedy);
  };
  for (const auto* name : {"amsgrad", "maximize", "max_grad_norm"}) {
    if (is(name, 0)) refuse(name, "is set, which Adam here does not have");
  }
  if (!is("bias_correction", 1)) refuse("bias_correction", "is off, and Adam here has it");
  if (is("weight_decay", 0) && !is("decoupled_weight_decay", 1))
    refuse("decoupled_weight_decay", "is off, and Adam here decays the weights themselves");
}

torch::Tensor moment_of(const PickleValue& state, const std::string& name, int64_t position,
                        const std::string& file) {
  const auto* found = state.find(name);
  EVOMOE_CHECK(found != nullptr, "{}: the optimizer's state of parameter {} has no '{}'; {}", file,
               position, name, kFairseqOptimizerRemedy);
  const auto& stored = as<torch::Tensor>(*found, name, file);
  EVOMOE_CHECK(stored.is_floating_point(), "{}: '{}' of parameter {} is of type {}; {}", file, name,
               position, c10::toString(stored.scalar_type()), kFairseqOptimizerRemedy);
  const auto moment = stored.to(torch::kFloat32);
  const auto* factor = state.find(name + "_scale");
  if (factor == nullptr) return moment;
  const auto scale = number_of(factor);
  EVOMOE_CHECK(scale && std::isfinite(*scale) && *scale > 0,
               "{}: '{}_scale' of parameter {} is {}, not a number above 0; {}", file, name,
               position, scale ? std::to_string(*scale) : "no number", kFairseqOptimizerRemedy);
  return moment * *scale;
}

/// The number of updates: in newer FusedAdam of the group, else of the parameter.
int64_t step_of(const PickleValue& group, const PickleValue& state, int64_t position,
                const std::string& file) {
  const auto* of_group = group.find("step");
  const auto step = number_of(of_group != nullptr ? of_group : state.find("step"));
  EVOMOE_CHECK(step && *step >= 0 && *step < 1e15 && *step == std::floor(*step),
               "{}: the 'step' of parameter {} is missing or no number of updates; {}", file,
               position, kFairseqOptimizerRemedy);
  return static_cast<int64_t>(*step);
}

/// The state of a parameter but for its step.
std::map<std::string, torch::Tensor> moments_of(const PickleValue& state, const std::string& method,
                                                int64_t position, const std::string& file) {
  std::vector<std::string> names = {"exp_avg", "exp_avg_sq"};
  if (method == "adafactor") {
    names = state.find("exp_avg_sq") != nullptr
                ? std::vector<std::string>{"exp_avg_sq"}
                : std::vector<std::string>{"exp_avg_sq_row", "exp_avg_sq_col"};
    if (state.find("exp_avg") != nullptr) names.emplace_back("exp_avg");
  }
  std::map<std::string, torch::Tensor> moments;
  for (const auto& name : names) moments[name] = moment_of(state, name, position, file);
  return moments;
}

}  // namespace

std::vector<int64_t> fairseq_state_sizes(const std::string& name, at::IntArrayRef parameter) {
  auto sizes = parameter.vec();
  if (sizes.size() < 2) return sizes;
  if (name == "exp_avg_sq_row") sizes.pop_back();
  if (name == "exp_avg_sq_col") sizes.erase(sizes.end() - 2);
  return sizes;
}

void check_may_be_flat(const FairseqOptimizer& optimizer, const std::string& file) {
  EVOMOE_CHECK(optimizer.method == "adam",
               "{}: it has the state of --optimizer {} of several parameters in one tensor, which "
               "is not that of the parameters; {}",
               file, optimizer.method, kFairseqOptimizerRemedy);
}

std::optional<FairseqOptimizer> read_fairseq_optimizer(const PickleValue& root,
                                                       const std::string& file) {
  const auto* found = root.find("last_optimizer_state");
  if (found == nullptr || found->get_if<std::monostate>() != nullptr) return std::nullopt;
  FairseqOptimizer optimizer;
  optimizer.method = method_of(root, file);
  // Moments are those of true gradients: the loss scale is divided out before.
  check_entries(*found,
                {"state", "param_groups", "loss_scale", "param_id_map", "uncollected_local_ids"},
                "the optimizer's state", file);
  check_numbering(*found, file);
  const auto& groups = entry_as<List>(*found, "param_groups", file);
  EVOMOE_CHECK(groups.size() == 1,
               "{}: the optimizer has {} groups of parameters, and only one is supported; {}", file,
               groups.size(), kFairseqOptimizerRemedy);
  const auto& group = groups.front();
  check_group(group, optimizer.method, file);

  // The group lists its tensors' keys in the order of the model's parameters.
  std::map<int64_t, int64_t> position_of;
  for (const auto& key : entry_as<List>(group, "params", file)) {
    EVOMOE_CHECK(position_of.emplace(as<int64_t>(key, "params", file), optimizer.tensors++).second,
                 "{}: the optimizer names a parameter twice", file);
  }
  const auto& states = entry_as<Dict>(*found, "state", file);
  for (size_t i = 0; i < states.keys.size(); ++i) {
    const auto key = as<int64_t>(states.keys[i], "position of a parameter", file);
    EVOMOE_CHECK(position_of.contains(key),
                 "{}: the optimizer has a parameter {}, which is none of the {} of its group", file,
                 key, optimizer.tensors);
    const auto position = position_of.at(key);
    const auto& state = states.values[i];
    static const std::set<std::string> of_adam = {"step", "exp_avg", "exp_avg_sq", "exp_avg_scale",
                                                  "exp_avg_sq_scale"};
    // RMS is made anew in each step.
    static const std::set<std::string> of_adafactor = {
        "step", "exp_avg", "exp_avg_sq", "exp_avg_sq_row", "exp_avg_sq_col", "RMS"};
    check_entries(state, optimizer.method == "adam" ? of_adam : of_adafactor,
                  fmt::format("the optimizer's state of parameter {}", position), file);
    if (as<Dict>(state, "state", file).keys.empty()) continue;
    const auto step = step_of(group, state, position, file);
    if (step == 0) continue;
    optimizer.moments[position] = {step, moments_of(state, optimizer.method, position, file)};
  }
  return optimizer;
}

}  // namespace evomoe
