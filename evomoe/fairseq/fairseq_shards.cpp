#include "evomoe/fairseq/fairseq_shards.h"

#include <algorithm>
#include <functional>
#include <set>

#include "evomoe/fairseq/fairseq_names.h"

namespace evomoe {
namespace {

using List = PickleValue::List;
using Dict = PickleValue::Dict;

/// A flat tensor of parameters, as one process describes it.
struct FlatParameter {
  std::string key;  ///< its name in the state dict
  std::vector<std::string> names;
  std::vector<std::vector<int64_t>> shapes;
  int64_t elements = 0;  ///< of all parameters
  int64_t padding = 0;   ///< how many values at the end of this process's piece are none

  bool is_expert() const { return evomoe::is_expert(names.front()); }
};

/// The shard of one process.
struct Process {
  const FairseqShard* shard = nullptr;
  TensorMap model;
  std::optional<FairseqOptimizer> optimizer;  ///< by position in `flat`
  std::vector<FlatParameter> flat;

  const std::string& file() const { return shard->shared.name; }
  const std::string& file_of(size_t position) const {
    return flat[position].is_expert() && shard->experts ? shard->experts->name : file();
  }
};

using Group = std::vector<const Process*>;

std::vector<int64_t> shape_of(const PickleValue& value, const std::string& file) {
  std::vector<int64_t> shape;
  for (const auto& size : as<List>(value, "shapes", file))
    shape.push_back(as<int64_t>(size, "shapes", file));
  return shape;
}

/// The number of elements, 0 where a size is negative or the product too large for any file.
int64_t elements_of(const std::vector<int64_t>& shape) {
  int64_t elements = 1;
  for (const auto size : shape) {
    if (size <= 0 || elements > (int64_t{1} << 36) / size) return 0;
    elements *= size;
  }
  return elements;
}

/// `fields` has the names, shapes and sizes of the parameters under `prefix` + "names" ...
FlatParameter read_flat(const std::string& path, const std::string& key, const PickleValue& fields,
                        const std::string& prefix, int64_t padding, const std::string& file) {
  const auto below = [&](const std::string& name) {
    return path.empty() ? name : path + "." + name;
  };
  FlatParameter flat;
  flat.key = below(key);
  flat.padding = padding;
  const auto& names = entry_as<List>(fields, prefix + "names", file);
  const auto& shapes = entry_as<List>(fields, prefix + "shapes", file);
  const auto& sizes = entry_as<List>(fields, prefix + "numels", file);
  EVOMOE_CHECK(!names.empty() && shapes.size() == names.size() && sizes.size() == names.size(),
               "{}: the metadata of '{}' name {} parameters, {} shapes and {} sizes", file,
               flat.key, names.size(), shapes.size(), sizes.size());
  for (size_t i = 0; i < names.size(); ++i) {
    flat.names.push_back(below(as<std::string>(names[i], "names", file)));
    flat.shapes.push_back(shape_of(shapes[i], file));
    const auto elements = elements_of(flat.shapes.back());
    EVOMOE_CHECK(elements > 0 && elements == as<int64_t>(sizes[i], "numels", file),
                 "{}: the metadata of '{}' give it a shape that does not fit its size", file,
                 flat.names.back());
    flat.elements += elements;
  }
  EVOMOE_CHECK(padding >= 0, "{}: the padding of '{}' is {}", file, flat.key, padding);
  return flat;
}

/// The flat tensors in the order of the optimiser's parameters.
std::vector<FlatParameter> read_metadata(const PickleValue& root, const std::string& file) {
  std::vector<FlatParameter> all;
  const auto& metadata = entry(root, "shard_metadata", file);
  for (const auto& instance : entry_as<List>(metadata, "param_metadata", file)) {
    const auto& path = entry_as<std::string>(instance, "fsdp_path", file);
    if (const auto* params = instance.find("params"); params != nullptr) {
      const auto& dict = as<Dict>(*params, "params", file);
      // flat_param_0, flat_param_1 ...: the module's parameters by their numbers.
      std::map<std::pair<size_t, std::string>, const PickleValue*> numbered;
      for (size_t i = 0; i < dict.keys.size(); ++i) {
        const auto& key = as<std::string>(dict.keys[i], "params", file);
        numbered[{key.size(), key}] = &dict.values[i];
      }
      for (const auto& [key, fields] : numbered) {
        all.push_back(read_flat(path, key.second, *fields, "",
                                entry_as<int64_t>(*fields, "padding", file), file));
      }
    } else if (!entry_as<List>(instance, "param_names", file).empty()) {
      // fairscale before 0.4
      const auto& padding = entry_as<List>(instance, "num_padded", file);
      EVOMOE_CHECK(entry_as<bool>(instance, "is_flat", file) && padding.size() == 1,
                   "{}: was written by FSDP without flatten_parameters, which fairseq always sets",
                   file);
      all.push_back(read_flat(path, "flat_param", instance, "param_",
                              as<int64_t>(padding[0], "num_padded", file), file));
    }
  }
  return all;
}

void add_file(const FairseqFile& file, Process& process) {
  const auto& model = entry_as<Dict>(file.root, "model", file.name);
  for (size_t i = 0; i < model.keys.size(); ++i) {
    const auto& name = as<std::string>(model.keys[i], "model", file.name);
    process.model[name] = as<torch::Tensor>(model.values[i], name, file.name);
  }
  auto optimizer = read_fairseq_optimizer(file.root, file.name);
  if (!optimizer) return;
  EVOMOE_CHECK(optimizer->tensors == static_cast<int64_t>(process.flat.size()),
               "{}: the optimizer has the state of {} tensors, expected {}, those of the metadata; "
               "{}",
               file.name, optimizer->tensors, process.flat.size(), kFairseqOptimizerRemedy);
  if (!process.optimizer) {
    process.optimizer =
        FairseqOptimizer{.method = optimizer->method, .tensors = optimizer->tensors, .moments = {}};
  }
  for (auto& [position, moments] : optimizer->moments) {
    EVOMOE_CHECK(process.optimizer->moments.emplace(position, std::move(moments)).second,
                 "{} and {}: both have the optimizer state of parameter {}", process.file(),
                 file.name, position);
  }
}

Process read_process(const FairseqShard& shard) {
  Process process;
  process.shard = &shard;
  process.flat = read_metadata(shard.shared.root, shard.shared.name);
  add_file(shard.shared, process);
  if (shard.experts) add_file(*shard.experts, process);
  return process;
}

void check_same_model(const Process& process, const Process& first) {
  const auto same = [](const FlatParameter& a, const FlatParameter& b) {
    return a.key == b.key && a.names == b.names && a.shapes == b.shapes;
  };
  EVOMOE_CHECK(std::equal(process.flat.begin(), process.flat.end(), first.flat.begin(),
                          first.flat.end(), same),
               "{}: its metadata describe another model than those of {}", process.file(),
               first.file());
}

/// The parameters out of the pieces of a group.
std::vector<torch::Tensor> unflatten(const Group& group, size_t position,
                                     const std::function<torch::Tensor(const Process&)>& piece_of) {
  const auto& flat = group.front()->flat[position];
  std::vector<torch::Tensor> pieces;
  for (const auto* process : group) {
    const auto piece = piece_of(*process);
    const auto padding = process->flat[position].padding;
    EVOMOE_CHECK(piece.dim() == 1 && piece.numel() >= padding &&
                     (pieces.empty() || piece.scalar_type() == pieces[0].scalar_type()),
                 "{}: the piece of '{}' is no row of values that ends with {} of padding",
                 process->file_of(position), flat.key, padding);
    pieces.push_back(piece.narrow(0, 0, piece.numel() - padding));
  }
  const auto whole = torch::cat(pieces);
  EVOMOE_CHECK(whole.numel() == flat.elements,
               "{}: the pieces of '{}' in the files of {} processes have {} values, its metadata "
               "{}; are all files there?",
               group.front()->file_of(position), flat.key, group.size(), whole.numel(),
               flat.elements);
  std::vector<torch::Tensor> parameters;
  int64_t begin = 0;
  for (const auto& shape : flat.shapes) {
    const auto elements = elements_of(shape);
    parameters.push_back(whole.narrow(0, begin, elements).view(shape));
    begin += elements;
  }
  return parameters;
}

const torch::Tensor& tensor_of(const Process& process, const std::string& name,
                               const std::string& file) {
  const auto found = process.model.find(name);
  EVOMOE_CHECK(found != process.model.end(), "{}: has no '{}'", file, name);
  return found->second;
}

/// The weights of a file that holds whole ones; of processes with the same expert all agree.
std::vector<torch::Tensor> whole_weights(const Group& group, size_t position) {
  const auto& first = *group.front();
  const auto& flat = first.flat[position];
  const auto& file = first.file_of(position);
  std::vector<torch::Tensor> weights;
  for (size_t i = 0; i < flat.names.size(); ++i) {
    const auto& tensor = tensor_of(first, flat.names[i], file);
    EVOMOE_CHECK(tensor.sizes() == flat.shapes[i],
                 "{}: '{}' has another shape than in the metadata", file, flat.names[i]);
    weights.push_back(tensor);
    if (!flat.is_expert()) continue;
    for (const auto* replica : group) {
      const auto& other = replica->file_of(position);
      EVOMOE_CHECK(is_same(tensor_of(*replica, flat.names[i], other), tensor),
                   "{}: '{}' differs from that in {}, though both processes hold the same expert; "
                   "use the files that one run wrote at the same update",
                   other, flat.names[i], file);
    }
  }
  return weights;
}

void add_state(const Group& group, size_t position, FairseqPart& part) {
  const auto& first = *group.front();
  const auto& names = first.flat[position].names;
  if (!first.optimizer) return;
  check_may_be_flat(*first.optimizer, first.file_of(position));
  // Nothing: it was not updated yet.
  const auto moments_of = [&](const Process& process) {
    EVOMOE_CHECK(process.optimizer.has_value(), "{}: has no optimizer state, but {} has one",
                 process.file_of(position), first.file_of(position));
    const auto found = process.optimizer->moments.find(static_cast<int64_t>(position));
    return found == process.optimizer->moments.end() ? FairseqMoments() : found->second;
  };
  const auto step = moments_of(first).step;
  for (const auto* process : group) {
    EVOMOE_CHECK(moments_of(*process).step == step, "{}: is of another update than {}",
                 process->file_of(position), first.file_of(position));
  }
  for (const auto& name : names)
    part.optimizer[name + ".step"] = torch::tensor(step, torch::kInt64);
  if (step == 0) return;
  for (const std::string moment : {"exp_avg", "exp_avg_sq"}) {
    const auto moments = unflatten(group, position, [&](const Process& process) {
      return moments_of(process).tensors.at(moment);
    });
    for (size_t i = 0; i < names.size(); ++i) part.optimizer[names[i] + "." + moment] = moments[i];
  }
}

void add_parameters(const Group& group, size_t position, FairseqPart& part) {
  const auto& flat = group.front()->flat[position];
  part.file = group.front()->file_of(position);
  const bool in_pieces = group.front()->model.contains(flat.key);
  const auto weights =
      in_pieces ? unflatten(group, position,
                            [&](const Process& process) {
                              return tensor_of(process, flat.key, process.file_of(position));
                            })
                : whole_weights(group, position);
  for (size_t i = 0; i < weights.size(); ++i) {
    EVOMOE_CHECK(part.model.emplace(flat.names[i], weights[i]).second,
                 "{}: the metadata name '{}' twice", part.file, flat.names[i]);
  }
  add_state(group, position, part);
}

}  // namespace

std::vector<FairseqPart> join_fairseq_shards(const std::vector<FairseqShard>& shards,
                                             int64_t experts) {
  std::vector<Process> processes;
  for (const auto& shard : shards) {
    processes.push_back(read_process(shard));
    check_same_model(processes.back(), processes.front());
  }
  const auto& first = processes.front();
  const auto holders =
      experts > 0 ? std::min(processes.size(), static_cast<size_t>(experts)) : processes.size();
  EVOMOE_CHECK(processes.size() % holders == 0,
               "{}: {} processes cannot have held {} experts evenly", first.file(),
               processes.size(), experts);
  // Every stride-th process.
  const auto group_from = [&](size_t begin, size_t stride) {
    Group group;
    for (size_t i = begin; i < processes.size(); i += stride) group.push_back(&processes[i]);
    return group;
  };
  std::vector<FairseqPart> parts(1);
  parts[0].file = first.file();
  std::set<std::string> known;
  for (size_t position = 0; position < first.flat.size(); ++position) {
    const auto& flat = first.flat[position];
    known.insert(flat.key);
    known.insert(flat.names.begin(), flat.names.end());
    if (!flat.is_expert()) {
      add_parameters(group_from(0, 1), position, parts[0]);
      continue;
    }
    if (!first.shard->experts) fail_experts_lost(first.file());
    parts.resize(1 + holders);
    for (size_t holder = 0; holder < holders; ++holder)
      add_parameters(group_from(holder, holders), position, parts[1 + holder]);
  }
  for (const auto& [name, tensor] : first.model) {
    if (!known.contains(name) && !is_derived(name) &&
        !is_tied(name, tensor, parts[0].model, first.shard->shared.root))
      parts[0].model[name] = tensor;
  }
  return parts;
}

}  // namespace evomoe
