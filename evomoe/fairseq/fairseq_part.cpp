#include "evomoe/fairseq/fairseq_part.h"

#include <algorithm>
#include <map>
#include <utility>

#include "evomoe/base/log.h"
#include "evomoe/fairseq/fairseq_names.h"

namespace evomoe {
namespace {

/// A parameter.
struct Piece {
  FairseqPart* part = nullptr;
  std::string name;
  torch::Tensor weight;
};

void give(const FairseqMoments& moments, const Piece& piece) {
  auto& optimizer = piece.part->optimizer;
  optimizer[piece.name + ".step"] = torch::tensor(moments.step, torch::kInt64);
  if (moments.step == 0) return;
  for (const auto& [name, moment] : moments.tensors) optimizer[piece.name + "." + name] = moment;
}

void give_flat(const FairseqMoments& flat, const std::string& file,
               const std::vector<Piece>& pieces) {
  int64_t values = 0;
  for (const auto& piece : pieces) values += piece.weight.numel();
  for (const auto& [name, moment] : flat.tensors) {
    EVOMOE_CHECK(moment.dim() == 1 && moment.numel() == values,
                 "{}: the optimizer's one state of all parameters has {} values of shape {}, "
                 "expected {} in a row, those of the {} parameters of the model without padding; "
                 "{}",
                 file, moment.numel(), c10::str(moment.sizes()), values, pieces.size(),
                 kFairseqOptimizerRemedy);
  }
  int64_t begin = 0;
  for (const auto& piece : pieces) {
    FairseqMoments of_piece{.step = flat.step, .tensors = {}};
    for (const auto& [name, moment] : flat.tensors) {
      of_piece.tensors[name] =
          moment.narrow(0, begin, piece.weight.numel()).view(piece.weight.sizes());
    }
    give(of_piece, piece);
    begin += piece.weight.numel();
  }
}

/// The options say that the model has a parameter of its own under this name. Those that an
/// architecture sets may be missing.
bool is_own_embedding(const std::string& name, const PickleValue& root) {
  const auto* cfg = root.find("cfg");
  const auto* model = cfg == nullptr ? nullptr : cfg->find("model");
  const auto says = [&](const char* option, bool value) {
    const auto* found = model == nullptr ? nullptr : model->find(option);
    const auto* flag = found == nullptr ? nullptr : found->get_if<bool>();
    return flag != nullptr && *flag == value;
  };
  if (is_embedding(name)) return says("share_all_embeddings", false);
  if (name.ends_with("lm_head.weight")) return says("untie_weights_roberta", true);
  if (name.ends_with("output_projection.weight")) {
    return says("share_decoder_input_output_embed", false) && !says("share_all_embeddings", true);
  }
  return says("tie_adaptive_weights", false);
}

}  // namespace

FairseqPart read_fairseq_part(const PickleValue& root, const std::string& file, bool whole) {
  EVOMOE_CHECK(root.find("shard_metadata") == nullptr,
               "{}: is a shard of fully_sharded training under another name; name the files "
               "x-shard0.pt, x-shard1.pt ... or x-shared-shard0.pt, x-rank-0-shard0.pt ... as the "
               "training did",
               file);
  const auto& model = entry_as<PickleValue::Dict>(root, "model", file);
  TensorMap all;
  std::vector<std::string> names;
  for (size_t i = 0; i < model.keys.size(); ++i) {
    const auto& name = as<std::string>(model.keys[i], "model", file);
    if (is_derived(name)) continue;
    if (!all.contains(name)) names.push_back(name);
    all[name] = as<torch::Tensor>(model.values[i], name, file);
  }
  FairseqPart part;
  part.file = file;
  bool gates = false, experts = false;
  // Of a tensor with several names the first in the model's order is the parameter's.
  for (const auto& name : in_parameter_order(std::move(names))) {
    if (is_tied(name, all.at(name), part.model, root)) continue;
    gates = gates || name.find(".moe_layer.gate.") != std::string::npos;
    experts = experts || is_expert(name);
    part.model[name] = all.at(name);
  }
  if (whole && gates && !experts) fail_experts_lost(file);
  return part;
}

void give_optimizer(const FairseqOptimizer& optimizer, const std::string& file,
                    const std::vector<FairseqPart*>& parts) {
  std::map<std::string, FairseqPart*> owners;
  std::vector<std::string> names;
  for (auto* part : parts) {
    for (const auto& [name, tensor] : part->model) {
      EVOMOE_CHECK(has_parameter_order(name),
                   "{}: '{}' is no parameter that models of fairseq have, so that the optimizer's "
                   "state cannot be given to their parameters; {}",
                   part->file, name, kFairseqOptimizerRemedy);
      EVOMOE_CHECK(owners.emplace(name, part).second, "{}: '{}' is in {} as well", part->file, name,
                   owners.at(name)->file);
      names.push_back(name);
    }
  }
  std::vector<Piece> pieces;
  for (const auto& name : in_parameter_order(std::move(names)))
    pieces.push_back({owners.at(name), name, owners.at(name)->model.at(name)});
  for (const auto& piece : pieces) {
    if (!piece.part->optimizer.contains(piece.name + ".step")) give({}, piece);
  }
  const auto& moments = optimizer.moments;
  if (optimizer.tensors == 1 && pieces.size() > 1) {
    if (moments.empty()) return;
    check_may_be_flat(optimizer, file);
    give_flat(moments.begin()->second, file, pieces);
    return;
  }
  const auto without = pieces.size() - std::min(pieces.size(), moments.size());
  if (!moments.empty() && without > 0) {
    log().warn(
        "{}: the optimizer has no state of {} of the {} parameters, whose moments begin at 0", file,
        without, pieces.size());
  }
  EVOMOE_CHECK(optimizer.tensors == static_cast<int64_t>(pieces.size()),
               "{}: the optimizer has the state of {} tensors, expected {} (one for each parameter "
               "of the model) or 1 (of all together); {}",
               file, optimizer.tensors, pieces.size(), kFairseqOptimizerRemedy);
  for (const auto& [position, state] : moments) {
    const auto& piece = pieces[static_cast<size_t>(position)];
    for (const auto& [name, moment] : state.tensors) {
      const auto sizes = fairseq_state_sizes(name, piece.weight.sizes());
      EVOMOE_CHECK(
          moment.sizes() == sizes,
          "{}: the optimizer's state of '{}' (parameter {}) has shape {}, expected {}, {}; "
          "{}",
          file, piece.name, position, c10::str(moment.sizes()),
          sizes.size() == static_cast<size_t>(piece.weight.dim()) ? "that of the parameter"
                                                                  : "by the parameter's",
          c10::str(at::IntArrayRef(sizes)), kFairseqOptimizerRemedy);
    }
    give(state, piece);
  }
}

bool is_same(const torch::Tensor& a, const torch::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         torch::allclose(a, b, /*rtol=*/0, /*atol=*/0, /*equal_nan=*/true);
}

bool is_tied(const std::string& name, const torch::Tensor& tensor, const TensorMap& earlier,
             const PickleValue& root) {
  if (!may_be_embedding(name) || tensor.numel() == 0) return false;
  const bool own = is_own_embedding(name, root);
  return std::any_of(earlier.begin(), earlier.end(), [&](const auto& item) {
    const auto& [other_name, other] = item;
    if (!is_embedding(other_name)) return false;
    if (own) return tensor.is_alias_of(other) && tensor.data_ptr() == other.data_ptr();
    return is_same(tensor, other);
  });
}

void fail_experts_lost(const std::string& file) {
  fail(
      "{}: has gates and no experts. It is the shared part of a mixture, which is read where it is "
      "named x-shared.pt and the files x-rank-0.pt ... of its experts lie beside it; or it was "
      "trained in one process, where a defect of the reference writes experts and all other "
      "tensors to one file name, so that the experts are lost: train with two processes there, or "
      "here",
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
  const auto number = number_of(&value);
  if (!number) fail_kind(value, what, "a number", file);
  return number;
}

int64_t integer_or(const PickleValue* value, int64_t otherwise) {
  const auto* found = value == nullptr ? nullptr : value->get_if<int64_t>();
  return found == nullptr ? otherwise : *found;
}

}  // namespace evomoe
