#include "evomoe/fairseq/fairseq_checkpoint.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <climits>
#include <limits>
#include <regex>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/fairseq/expert_stacks.h"
#include "evomoe/fairseq/fairseq_names.h"
#include "evomoe/fairseq/fairseq_shards.h"
#include "evomoe/fairseq/torch_file.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

/// The files of one checkpoint.
struct FileSet {
  std::string stem;
  bool parts = false;   ///< experts have files of their own
  bool shards = false;  ///< every process has files of its own
  std::string whole;    ///< the one file, where there is only one

  std::string shared(int64_t process) const {
    return stem + (parts ? "-shared" : "") + shard(process) + ".pt";
  }
  std::string experts(int64_t process) const {
    return stem + "-rank-" + std::to_string(process) + shard(process) + ".pt";
  }
  std::string first() const { return whole.empty() ? shared(0) : whole; }

 private:
  std::string shard(int64_t process) const {
    return shards ? "-shard" + std::to_string(process) : "";
  }
};

/// The sets that have `path` as the name of a file or in common, those without shards first.
std::vector<FileSet> sets_named(const fs::path& path) {
  static const std::regex pattern(R"((.*?)(-shared|-rank-\d+)?(-shard\d+)?(\.pt)?)");
  const auto text = path.string();
  if (text.size() > PATH_MAX) return {};  // no file; std::regex calls itself for each character
  std::smatch match;
  if (!std::regex_match(text, match, pattern)) return {};
  const bool part = match[2].matched, shard = match[3].matched;
  std::vector<FileSet> sets;
  if (!part && !shard) sets.push_back({.stem = {}, .whole = text});
  for (const bool shards : {false, true}) {
    for (const bool parts : {false, true}) {
      // The name of a shard tells all, that of a part only that there are parts.
      if ((shard && (!shards || parts != part)) || (part && !parts)) continue;
      sets.push_back({.stem = match[1].str(), .parts = parts, .shards = shards, .whole = {}});
    }
  }
  return sets;
}

FileSet find_files(const fs::path& path) {
  std::set<std::string> missing;
  std::vector<FileSet> found;
  std::vector<std::string> firsts;
  for (const auto& files : sets_named(path)) {
    const auto first = files.first();
    if (!firsts.empty() && firsts.back() == first) continue;  // x.pt in full and without its end
    if (fs::is_regular_file(first)) {
      found.push_back(files);
      firsts.push_back(first);
    } else if (first != path) {
      missing.insert(first);
    }
  }
  EVOMOE_CHECK(found.size() < 2,
               "{}: several checkpoints have this name: those of {}; move the files of all but one "
               "away",
               path.string(), fmt::join(firsts, ", "));
  if (!found.empty()) return found.front();
  EVOMOE_CHECK(!fs::is_regular_file(path), "{}: is missing; {} is a part of it",
               fmt::join(missing, " or "), path.string());
  fail("{}: there is neither this file nor {}", path.string(), fmt::join(missing, " nor "));
}

void expect_file(const std::string& file, const std::string& why) {
  EVOMOE_CHECK(fs::is_regular_file(file), "{}: is missing; {}", file, why);
}

/// The number of experts of a part, of each layer alike.
int64_t experts_of(const FairseqPart& part) {
  ExpertStacks stacks;
  TensorMap plain;
  sort_experts(part.model, 0, plain, stacks);
  int64_t count = -1;
  for (const auto& [name, experts] : stacks) {
    const auto here = static_cast<int64_t>(experts.size());
    EVOMOE_CHECK((count < 0 || here == count) && experts.rbegin()->first == here - 1,
                 "{}: experts of '{}' are missing", part.file, name);
    count = here;
  }
  return std::max<int64_t>(count, 0);
}

/// Error unless two processes hold the same expert.
void check_same(const FairseqPart& replica, const FairseqPart& first) {
  for (const auto& [mine, theirs] :
       {std::pair{&replica.model, &first.model}, std::pair{&replica.optimizer, &first.optimizer}}) {
    for (const auto& [name, tensor] : *theirs) {
      const auto found = mine->find(name);
      EVOMOE_CHECK(found != mine->end() && is_same(found->second, tensor),
                   "{}: '{}' differs from that in {}, though both processes hold the same expert; "
                   "use the files that one run wrote at the same update",
                   replica.file, name, first.file);
    }
  }
}

/// What is read of a file; anything may lie beside it (the metrics of validations, the state of
/// another task).
PickleValue read_file(const std::string& file, bool with_optimizer) {
  PicklePaths wanted = {"cfg",
                        "args",
                        "model",
                        "shard_metadata",
                        "optimizer_history",
                        "extra_state.best",
                        "extra_state.previous_training_time",
                        "extra_state.train_iterator"};
  if (with_optimizer) wanted.emplace_back("last_optimizer_state");
  return read_torch_file(file, wanted);
}

/// Of a set without shards: the whole file, or the shared one and then the experts, each once.
std::vector<FairseqPart> read_parts(const FileSet& files, const PickleValue& root, int64_t experts,
                                    bool with_optimizer) {
  const auto first = files.first();
  std::vector<FairseqPart> parts = {read_fairseq_part(root, first, !files.parts)};
  const auto optimizer = read_fairseq_optimizer(root, first);
  if (!files.parts) {
    if (optimizer) give_optimizer(*optimizer, first, {&parts[0]});
    return parts;
  }
  // Process 0 alone saved its flat state of all its parameters, into the shared file.
  const bool flat = optimizer && optimizer->tensors == 1;
  int64_t found = 0;
  for (int64_t rank = 0; rank == 0 || found < experts || fs::exists(files.experts(rank)); ++rank) {
    const auto name = files.experts(rank);
    expect_file(name, fmt::format("the {} files before it hold {} of {} experts (it belongs to {})",
                                  rank, found, experts, first));
    const auto own = read_file(name, with_optimizer);
    auto part = read_fairseq_part(own, name, /*whole=*/false);
    const auto here = experts_of(part);
    EVOMOE_CHECK(here > 0, "{}: holds no expert", name);
    // The optimizer of a process has the shared parameters and those of its experts.
    if (rank == 0 && optimizer) give_optimizer(*optimizer, first, {&parts[0], &part});
    if (const auto of_experts = read_fairseq_optimizer(own, name); of_experts && !flat) {
      auto shared = parts[0];
      give_optimizer(*of_experts, name, {&shared, &part});
    }
    if (experts > 0 && found == experts) {
      // More processes than experts: rank r holds the same as rank r % experts.
      const auto& holder = parts[1 + static_cast<size_t>(rank) % (parts.size() - 1)];
      if (flat) part.optimizer = holder.optimizer;
      check_same(part, holder);
      continue;
    }
    EVOMOE_CHECK(rank == 0 || !flat,
                 "{}: of its experts no optimizer state was saved: with --fp16 and without "
                 "--fp16-no-flatten-grads fairseq saves that of process 0 alone, in {}; {}",
                 name, first, kFairseqOptimizerRemedy);
    found += here;
    parts.push_back(std::move(part));
  }
  return parts;
}

std::vector<FairseqPart> read_shards(const FileSet& files, PickleValue root, int64_t processes,
                                     int64_t experts, bool with_optimizer) {
  std::vector<FairseqShard> shards;
  const auto next = [&] { return static_cast<int64_t>(shards.size()); };
  // An earlier run may have left files of more processes; all count where their number is unknown.
  while (next() < processes || (processes == 0 && fs::exists(files.shared(next())))) {
    const auto why =
        fmt::format("it belongs to {}, a run of {} processes", files.first(), processes);
    const auto read = [&](const std::string& name) {
      expect_file(name, why);
      return FairseqFile{name, read_file(name, with_optimizer)};
    };
    FairseqShard shard;
    shard.shared =
        shards.empty() ? FairseqFile{files.first(), std::move(root)} : read(files.shared(next()));
    if (files.parts) shard.experts = read(files.experts(next()));
    shards.push_back(std::move(shard));
  }
  return join_fairseq_shards(shards, experts);
}

}  // namespace

FairseqCheckpoint read_fairseq_checkpoint(const fs::path& path, bool with_optimizer) {
  const auto files = find_files(path);
  const auto file = files.first();
  const auto root = read_file(file, with_optimizer);

  FairseqCheckpoint checkpoint;
  checkpoint.file = file;
  const auto* cfg = root.find("cfg");
  if (cfg == nullptr || cfg->get_if<std::monostate>() != nullptr) cfg = root.find("args");
  if (cfg != nullptr) checkpoint.cfg = *cfg;
  const auto option = [&](const std::string& group, const std::string& name) {
    const auto* options = checkpoint.cfg.find(group);
    return std::max<int64_t>(integer_or(options == nullptr ? nullptr : options->find(name), 0), 0);
  };
  const auto experts = files.parts ? option("model", "moe_expert_count") : 0;
  const auto parts =
      files.shards
          ? read_shards(files, root, option("distributed_training", "distributed_world_size"),
                        experts, with_optimizer)
          : read_parts(files, root, experts, with_optimizer);
  ExpertStacks model, optimizer;
  int64_t first_expert = 0;
  for (const auto& part : parts) {
    sort_experts(part.model, first_expert, checkpoint.model, model);
    sort_experts(part.optimizer, first_expert, checkpoint.optimizer, optimizer);
    first_expert += experts_of(part);
  }
  EVOMOE_CHECK(experts == 0 || first_expert == experts,
               "{}: the files hold {} experts, but the model has {}", file, first_expert, experts);
  stack_experts(model, file, checkpoint.model);
  stack_experts(optimizer, file, checkpoint.optimizer);
  for (auto* tensors : {&checkpoint.model, &checkpoint.optimizer}) {
    for (auto& [name, tensor] : *tensors) {
      // --memory-efficient-fp16 saves halves; ours are trained in float32.
      if (tensor.is_floating_point()) tensor = tensor.to(torch::kFloat32);
    }
  }

  const auto* history = root.find("optimizer_history");
  if (history != nullptr && history->get_if<std::monostate>() == nullptr) {
    const auto& list = as<PickleValue::List>(*history, "optimizer_history", file);
    if (!list.empty()) {
      checkpoint.updates =
          entry_or<int64_t>(list.back(), "optimizer_history", "num_updates", 0, file);
    }
  }
  if (const auto* extra = root.find("extra_state"); extra != nullptr) {
    as<PickleValue::Dict>(*extra, "extra_state", file);
    const auto number = [&](const std::string& key) {
      const auto* found = extra->find(key);
      return found == nullptr ? std::nullopt : as_number(*found, key, file);
    };
    checkpoint.best = number("best");
    checkpoint.seconds = number("previous_training_time").value_or(0);
    if (const auto* iterator = extra->find("train_iterator"); iterator != nullptr) {
      checkpoint.epoch = entry_or<int64_t>(*iterator, "train_iterator", "epoch", 1, file);
      checkpoint.iterations_in_epoch =
          entry_or<int64_t>(*iterator, "train_iterator", "iterations_in_epoch", 0, file);
    }
  }
  EVOMOE_CHECK(checkpoint.updates >= 0 && checkpoint.epoch >= 1 &&
                   checkpoint.iterations_in_epoch >= 0 &&
                   checkpoint.iterations_in_epoch <= std::numeric_limits<int32_t>::max(),
               "{}: it says that it was written in epoch {} after {} batches and {} updates, which "
               "cannot be; the file is damaged",
               file, checkpoint.epoch, checkpoint.iterations_in_epoch, checkpoint.updates);
  return checkpoint;
}

bool is_fairseq_checkpoint(const fs::path& path) {
  if (path.extension() != ".pt") return false;
  const auto sets = sets_named(path);
  return fs::is_regular_file(path) || std::any_of(sets.begin(), sets.end(), [](const auto& files) {
           return fs::is_regular_file(files.first());
         });
}

}  // namespace evomoe
