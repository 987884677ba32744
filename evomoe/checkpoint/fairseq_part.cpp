#include "evomoe/checkpoint/fairseq_part.h"

#include <algorithm>

namespace evomoe {
namespace {

/// Where fairscale gathered the state of several nested instances, positions follow the instances
/// and not the model.
void check_numbering(const PickleValue& root, const std::string& file) {
  const auto* optimizer = root.find("last_optimizer_state");
  const auto* instances = optimizer == nullptr ? nullptr : optimizer->find("param_id_map");
  const auto* map = instances == nullptr ? nullptr : instances->get_if<PickleValue::Dict>();
  if (map == nullptr) return;
  for (const auto& instance : map->values) {
    EVOMOE_CHECK(integer_or(&instance, 0) == 0,
                 "{}: its optimizer state was gathered from shards and is numbered in an order "
                 "that the file does not tell; train with --use-sharded-state, whose files are "
                 "read, or save with --no-save-optimizer-state to convert the weights alone",
                 file);
  }
}

/// The state's keys are positions among the parameters of all parts of a rank. A part with as many
/// states as parameters has them in its own order; in a whole file, where some may have no state,
/// the positions themselves tell.
void read_optimizer(const PickleValue& root, const std::vector<std::string>& names, bool whole,
                    FairseqPart& part) {
  const auto& file = part.file;
  check_numbering(root, file);
  const auto states = optimizer_states(root, file);
  if (states.empty()) return;
  EVOMOE_CHECK(whole || states.size() == names.size(),
               "{}: the optimizer has the state of {} parameters and the model {}; which belongs "
               "to which cannot be told",
               file, states.size(), names.size());
  for (const auto& name : names) part.optimizer[name + ".step"] = torch::zeros({}, torch::kInt64);
  size_t next = 0;
  for (const auto& [position, state] : states) {
    const auto index = whole ? static_cast<size_t>(position) : next++;
    EVOMOE_CHECK(index < names.size(),
                 "{}: the optimizer has a parameter {}, the model {} parameters", file, position,
                 names.size());
    const auto& name = names[index];
    const auto step = step_of(*state, file);
    part.optimizer[name + ".step"] = torch::tensor(step, torch::kInt64);
    if (step == 0) continue;
    for (const std::string moment : {"exp_avg", "exp_avg_sq"}) {
      const auto& tensor = entry_as<torch::Tensor>(*state, moment, file);
      EVOMOE_CHECK(tensor.sizes() == part.model.at(name).sizes(),
                   "{}: '{}' of '{}' has another shape than the parameter", file, moment, name);
      part.optimizer[name + "." + moment] = tensor;
    }
  }
}

}  // namespace

FairseqPart read_fairseq_part(const PickleValue& root, const std::string& file, bool whole) {
  EVOMOE_CHECK(root.find("shard_metadata") == nullptr,
               "{}: is a shard of fully_sharded training under another name; name the files "
               "x-shard0.pt, x-shard1.pt ... or x-shared-shard0.pt, x-rank-0-shard0.pt ... as the "
               "training did",
               file);
  FairseqPart part;
  part.file = file;
  std::vector<std::string> names;
  bool gates = false, experts = false;
  const auto& model = entry_as<PickleValue::Dict>(root, "model", file);
  for (size_t i = 0; i < model.keys.size(); ++i) {
    const auto& name = as<std::string>(model.keys[i], "model", file);
    const auto& tensor = as<torch::Tensor>(model.values[i], name, file);
    if (is_derived(name) || is_tied(tensor, part.model)) continue;
    gates = gates || name.find(".moe_layer.gate.") != std::string::npos;
    experts = experts || std::regex_match(name, expert_pattern());
    names.push_back(name);
    part.model[name] = tensor;
  }
  if (whole && gates && !experts) fail_experts_lost(file);
  read_optimizer(root, names, whole, part);
  return part;
}

std::map<int64_t, const PickleValue*> optimizer_states(const PickleValue& root,
                                                       const std::string& file) {
  std::map<int64_t, const PickleValue*> sorted;
  const auto* optimizer = root.find("last_optimizer_state");
  if (optimizer == nullptr || optimizer->get_if<std::monostate>() != nullptr) return sorted;
  const auto& states = entry_as<PickleValue::Dict>(*optimizer, "state", file);
  for (size_t i = 0; i < states.keys.size(); ++i) {
    const auto position = as<int64_t>(states.keys[i], "position of a parameter", file);
    EVOMOE_CHECK(position >= 0, "{}: the optimizer has a parameter {}", file, position);
    sorted[position] = &states.values[i];
  }
  return sorted;
}

int64_t step_of(const PickleValue& state, const std::string& file) {
  const auto& step = entry(state, "step", file);
  if (const auto* tensor = step.get_if<torch::Tensor>(); tensor != nullptr) {
    EVOMOE_CHECK(tensor->numel() == 1, "{}: a 'step' is no number", file);
    return tensor->to(torch::kInt64).item<int64_t>();
  }
  return as<int64_t>(step, "step", file);
}

bool is_derived(const std::string& name) {
  return name.ends_with("_float_tensor") || name.ends_with(".version");
}

bool is_same(const torch::Tensor& a, const torch::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.equal(b);
}

bool is_tied(const torch::Tensor& tensor, const TensorMap& earlier) {
  return std::any_of(earlier.begin(), earlier.end(), [&](const auto& item) {
    const auto& [name, other] = item;
    if (tensor.numel() == 0 || other.sizes() != tensor.sizes()) return false;
    return other.data_ptr() == tensor.data_ptr() ||
           (name.find("embed_tokens") != std::string::npos && is_same(tensor, other));
  });
}

const std::regex& expert_pattern() {
  static const std::regex pattern(
      R"((.*\.moe_layer\.experts)\.(\d{1,6})\.(fc1|fc2)\.(weight|bias)(\..*)?)");
  return pattern;
}

void fail_experts_lost(const std::string& file) {
  fail(
      "{}: has gates and no experts. Trained in one process, fairseq writes its experts and all "
      "other tensors to files of the same name, so that the experts are overwritten: they are "
      "lost, by a defect of the reference. Train with two processes there, or here",
      file);
}

const PickleValue& entry(const PickleValue& value, const std::string& key,
                         const std::string& file) {
  const auto* found = value.find(key);
  EVOMOE_CHECK(found != nullptr, "{}: has no '{}', which checkpoints of fairseq have", file, key);
  return *found;
}

void fail_kind(const PickleValue& value, const std::string& what, const std::string& expected,
               const std::string& file) {
  if (const auto* opaque = value.get_if<OpaqueValue>(); opaque != nullptr) {
    fail(
        "{}: '{}' is {}, and {} is needed there; such values are skipped and never executed. Load "
        "the file with the code that wrote it, make plain data of this value and save it again",
        file, opaque->path, kind_of(value), expected);
  }
  fail("{}: '{}' is {}, and {} is needed there; the file was not written by fairseq", file, what,
       kind_of(value), expected);
}

std::optional<double> as_number(const PickleValue& value, const std::string& what,
                                const std::string& file) {
  if (value.get_if<std::monostate>() != nullptr) return std::nullopt;
  if (const auto* integer = value.get_if<int64_t>()) return static_cast<double>(*integer);
  if (const auto* real = value.get_if<double>()) return *real;
  const auto* tensor = value.get_if<torch::Tensor>();
  if (tensor == nullptr || tensor->numel() != 1) fail_kind(value, what, "a number", file);
  return tensor->to(torch::kFloat64).item<double>();
}

int64_t integer_or(const PickleValue* value, int64_t otherwise) {
  const auto* found = value == nullptr ? nullptr : value->get_if<int64_t>();
  return found == nullptr ? otherwise : *found;
}

}  // namespace evomoe
