#include "evomoe/checkpoint/fairseq_checkpoint.h"

#include <algorithm>
#include <regex>

#include "evomoe/base/error.h"
#include "evomoe/checkpoint/torch_file.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

/// The tensors of one file, and the optimiser's state of those that are parameters.
struct Part {
  std::string file;
  TensorMap model;
  TensorMap optimizer;
};

/// Names of the files of a set; `shared` is empty for a whole checkpoint.
struct FileSet {
  fs::path first;  ///< the whole or the shared file
  fs::path stem;   ///< what stands before "-rank-N.pt"
  bool split = false;
};

fs::path rank_file(const FileSet& files, int64_t rank) {
  return files.stem.string() + "-rank-" + std::to_string(rank) + ".pt";
}

FileSet find_files(const fs::path& path) {
  static const std::regex shard(R"((.*)-shard\d+(\.pt)?)");
  static const std::regex part(R"((.*)-(rank-\d+|shared)(\.pt)?)");
  const auto text = path.string();
  std::smatch match;
  EVOMOE_CHECK(!std::regex_match(text, shard),
               "{}: is a shard of fully_sharded training, which is not read; consolidate the "
               "shards with fairseq's fully_sharded_data_parallel.consolidate_fsdp_shards first",
               text);
  FileSet files;
  if (std::regex_match(text, match, part)) {
    files.stem = match[1].str();
  } else if (fs::is_regular_file(path)) {
    files.first = path;
    return files;
  } else {
    files.stem = path.extension() == ".pt" ? fs::path(path).replace_extension() : path;
    if (const auto whole = fs::path(files.stem.string() + ".pt"); fs::is_regular_file(whole)) {
      files.first = whole;
      return files;
    }
  }
  files.split = true;
  files.first = files.stem.string() + "-shared.pt";
  EVOMOE_CHECK(fs::exists(files.first), "{}: there is neither this file nor {}", text,
               files.first.string());
  return files;
}

const PickleValue& entry(const PickleValue& value, const std::string& key,
                         const std::string& file) {
  const auto* found = value.find(key);
  EVOMOE_CHECK(found != nullptr, "{}: has no '{}'; it is no checkpoint of fairseq", file, key);
  return *found;
}

template <typename T>
const T& as(const PickleValue& value, const std::string& what, const std::string& file) {
  const auto* found = value.get_if<T>();
  EVOMOE_CHECK(found != nullptr, "{}: '{}' is of another type than fairseq writes", file, what);
  return *found;
}

int64_t integer_or(const PickleValue* value, int64_t otherwise) {
  const auto* found = value == nullptr ? nullptr : value->get_if<int64_t>();
  return found == nullptr ? otherwise : *found;
}

bool is_derived(const std::string& name) {
  return name.ends_with("_float_tensor") || name.ends_with(".version");
}

/// Steps are ints in fairseq's Adam and tensors in torch's.
int64_t step_of(const PickleValue& value, const std::string& file) {
  if (const auto* tensor = value.get_if<torch::Tensor>(); tensor != nullptr) {
    EVOMOE_CHECK(tensor->numel() == 1, "{}: a 'step' is no number", file);
    return tensor->to(torch::kInt64).item<int64_t>();
  }
  return as<int64_t>(value, "step", file);
}

/// The state's keys are positions among the parameters of all parts of a rank. A part with as many
/// states as parameters has them in its own order; in a whole file, where some may have no state,
/// the positions themselves tell.
void read_optimizer(const PickleValue& root, const std::vector<std::string>& names, bool whole,
                    Part& part) {
  const auto* optimizer = root.find("last_optimizer_state");
  if (optimizer == nullptr || optimizer->get_if<std::monostate>() != nullptr) return;
  const auto& states = as<PickleValue::Dict>(entry(*optimizer, "state", part.file), "state",
                                             part.file);
  std::map<int64_t, const PickleValue*> sorted;
  for (size_t i = 0; i < states.keys.size(); ++i) {
    sorted[as<int64_t>(states.keys[i], "position of a parameter", part.file)] = &states.values[i];
  }
  EVOMOE_CHECK(whole || sorted.size() == names.size(),
               "{}: the optimizer has the state of {} parameters and the model {}; which belongs "
               "to which cannot be told",
               part.file, sorted.size(), names.size());
  for (const auto& name : names) part.optimizer[name + ".step"] = torch::zeros({}, torch::kInt64);
  size_t next = 0;
  for (const auto& [position, state] : sorted) {
    const auto index = whole ? static_cast<size_t>(position) : next++;
    EVOMOE_CHECK(position >= 0 && index < names.size(),
                 "{}: the optimizer has a parameter {}, the model {} parameters", part.file,
                 position, names.size());
    const auto& name = names[index];
    const auto step = step_of(entry(*state, "step", part.file), part.file);
    part.optimizer[name + ".step"] = torch::tensor(step, torch::kInt64);
    if (step == 0) continue;
    for (const std::string moment : {"exp_avg", "exp_avg_sq"}) {
      const auto& tensor = as<torch::Tensor>(entry(*state, moment, part.file), moment, part.file);
      EVOMOE_CHECK(tensor.sizes() == part.model.at(name).sizes(),
                   "{}: '{}' of '{}' has another shape than the parameter", part.file, moment,
                   name);
      part.optimizer[name + "." + moment] = tensor;
    }
  }
}

Part read_part(const PickleValue& root, const std::string& file, bool whole) {
  Part part;
  part.file = file;
  EVOMOE_CHECK(root.find("shard_metadata") == nullptr,
               "{}: is a shard of fully_sharded training, which is not read; consolidate the "
               "shards with fairseq's fully_sharded_data_parallel.consolidate_fsdp_shards first",
               file);
  std::vector<std::string> names;
  std::vector<torch::Tensor> seen;
  const auto& model = as<PickleValue::Dict>(entry(root, "model", file), "model", file);
  for (size_t i = 0; i < model.keys.size(); ++i) {
    const auto& name = as<std::string>(model.keys[i], "model", file);
    const auto& tensor = as<torch::Tensor>(model.values[i], name, file);
    if (is_derived(name)) continue;
    // A tied tensor is stored once, and comes again under its second name.
    const bool tied = std::any_of(seen.begin(), seen.end(), [&](const torch::Tensor& other) {
      return tensor.numel() > 0 && other.data_ptr() == tensor.data_ptr() &&
             other.sizes() == tensor.sizes();
    });
    if (tied) continue;
    seen.push_back(tensor);
    names.push_back(name);
    part.model[name] = tensor;
  }
  read_optimizer(root, names, whole, part);
  return part;
}

/// Moves the tensors of `from` to our names: others as they are, experts into `stacks` at
/// `first_expert` plus their number.
using Stacks = std::map<std::string, std::map<int64_t, torch::Tensor>>;

const std::regex& expert_pattern() {
  static const std::regex pattern(
      R"((.*\.moe_layer\.experts)\.(\d{1,6})\.(fc1|fc2)\.(weight|bias)(\..*)?)");
  return pattern;
}

void sort_names(const TensorMap& from, int64_t first_expert, TensorMap& plain, Stacks& stacks) {
  for (const auto& [name, tensor] : from) {
    std::smatch match;
    if (!std::regex_match(name, match, expert_pattern())) {
      plain[name] = tensor;
      continue;
    }
    const auto ours = match[1].str() + "." + (match[4] == "weight" ? "w" : "b") +
                      (match[3] == "fc1" ? "1" : "2") + match[5].str();
    stacks[ours][first_expert + std::stoll(match[2])] = tensor;
  }
}

/// The number of experts of a part, of each layer alike.
int64_t experts_of(const Part& part) {
  Stacks stacks;
  TensorMap plain;
  sort_names(part.model, 0, plain, stacks);
  int64_t count = -1;
  for (const auto& [name, experts] : stacks) {
    const auto here = static_cast<int64_t>(experts.size());
    EVOMOE_CHECK((count < 0 || here == count) && experts.rbegin()->first == here - 1,
                 "{}: experts of '{}' are missing", part.file, name);
    count = here;
  }
  return std::max<int64_t>(count, 0);
}

void stack(const Stacks& stacks, const std::string& file, TensorMap& into) {
  for (const auto& [name, experts] : stacks) {
    std::vector<torch::Tensor> tensors;
    for (const auto& [index, tensor] : experts) {
      EVOMOE_CHECK(tensors.empty() || tensor.sizes() == tensors[0].sizes(),
                   "{}: the experts of '{}' have different shapes", file, name);
      tensors.push_back(tensor);
    }
    if (name.ends_with(".step")) {
      for (const auto& step : tensors) {
        EVOMOE_CHECK(step.equal(tensors[0]),
                     "{}: the experts of '{}' had different numbers of updates, but here they "
                     "share one",
                     file, name);
      }
      into[name] = tensors[0];
    } else {
      into[name] = torch::stack(tensors);
    }
  }
}

}  // namespace

FairseqCheckpoint read_fairseq_checkpoint(const fs::path& path) {
  const auto files = find_files(path);
  const auto file = files.first.string();
  auto root = read_torch_file(files.first);

  FairseqCheckpoint checkpoint;
  std::vector<Part> parts = {read_part(root, file, !files.split)};
  const auto* cfg = root.find("cfg");
  if (cfg == nullptr || cfg->get_if<PickleValue::Dict>() == nullptr) cfg = root.find("args");
  if (cfg != nullptr) checkpoint.cfg = *cfg;
  if (files.split) {
    const auto* model = checkpoint.cfg.find("model");
    const auto experts =
        integer_or(model == nullptr ? nullptr : model->find("moe_expert_count"), 0);
    int64_t found = 0;
    for (int64_t rank = 0; rank == 0 || found < experts || fs::exists(rank_file(files, rank));
         ++rank) {
      const auto name = rank_file(files, rank);
      EVOMOE_CHECK(fs::exists(name),
                   "{}: is missing; the {} files before it hold {} of {} experts (it belongs to "
                   "{})",
                   name.string(), rank, found, experts, file);
      parts.push_back(read_part(read_torch_file(name), name.string(), /*whole=*/false));
      const auto here = experts_of(parts.back());
      EVOMOE_CHECK(here > 0, "{}: holds no expert", name.string());
      found += here;
    }
    EVOMOE_CHECK(experts == 0 || found == experts,
                 "{}: its rank files hold {} experts, but the model has {}; replicated experts "
                 "(more ranks than experts) are not read",
                 file, found, experts);
  }
  Stacks model, optimizer;
  int64_t first_expert = 0;
  for (const auto& part : parts) {
    sort_names(part.model, first_expert, checkpoint.model, model);
    sort_names(part.optimizer, first_expert, checkpoint.optimizer, optimizer);
    first_expert += experts_of(part);
  }
  stack(model, file, checkpoint.model);
  stack(optimizer, file, checkpoint.optimizer);

  const auto* history = root.find("optimizer_history");
  const auto* list = history == nullptr ? nullptr : history->get_if<PickleValue::List>();
  if (list != nullptr && !list->empty())
    checkpoint.updates = integer_or(list->back().find("num_updates"), 0);
  if (const auto* extra = root.find("extra_state"); extra != nullptr) {
    if (const auto* best = extra->find("best"); best != nullptr) checkpoint.best = *best;
    if (const auto* iterator = extra->find("train_iterator"); iterator != nullptr) {
      checkpoint.epoch = integer_or(iterator->find("epoch"), 1);
      checkpoint.iterations_in_epoch = integer_or(iterator->find("iterations_in_epoch"), 0);
    }
  }
  return checkpoint;
}

bool is_fairseq_checkpoint(const fs::path& path) {
  if (path.extension() != ".pt") return false;
  return fs::is_regular_file(path) ||
         fs::is_regular_file(fs::path(path).replace_extension().string() + "-shared.pt");
}

}  // namespace evomoe
