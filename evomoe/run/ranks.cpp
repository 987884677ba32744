#include "evomoe/run/ranks.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <memory>
#include <ostream>
#include <random>
#include <system_error>
#include <thread>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"
#include "evomoe/base/log.h"
#include "evomoe/base/write_file.h"
#include "evomoe/config/option_table.h"
#include "evomoe/loading/stored_state.h"
#include "evomoe/parallel/process_group.h"
#include "evomoe/train/model_options.h"
#include "evomoe/train/task.h"

namespace evomoe {
namespace {

/// How long a rank looks for what another one has written.
constexpr std::chrono::seconds kFolderPatience{5};

RankFacts facts_of_run(TrainOptions options, const RunData& data) {
  OptionTable table("train", "");
  options.describe(table);
  auto facts = facts_of(table);
  const auto model = model_record(data.task->source_dictionary(), data.task->target_dictionary());
  facts["the dictionary"] = json_text(nlohmann::json(model));
  const auto train = data.task->train(1, options.dataset.train_subset);
  facts["the training data"] = data_fact(*train);
  return facts;
}

/// How many ranks share the experts. A search of --eval-bleu makes as many steps as its sentences
/// need, and so cannot wait for the experts of other ranks.
int64_t expert_ranks_of(const TrainOptions& options, int64_t ranks) {
  const auto size = expert_parallel_size(
      options.distributed, has_experts(options) ? options.moe.moe_expert_count : 0, ranks);
  if (const auto& growth = options.evolution.growth_experts; size > 1 && !growth.empty()) {
    if (options.distributed.expert_parallel_size > 1) {
      fail_usage(
          "--expert-parallel-size {} with --growth-experts {}: ranks that share experts cannot "
          "grow "
          "them yet; leave one of them out, or give --expert-parallel-size 1",
          size, fmt::join(growth, ","));
    }
    log().info("--growth-experts: each rank holds all experts (--expert-parallel-size 1)");
    return 1;
  }
  if (size == 1 || !options.task.bleu.eval_bleu) return size;
  if (options.distributed.expert_parallel_size > 1) {
    fail_usage(
        "--expert-parallel-size {} with --eval-bleu: translations of different lengths cannot "
        "share experts; leave one of them out, or give --expert-parallel-size 1",
        size);
  }
  log().info("--eval-bleu: each rank holds all experts (--expert-parallel-size 1)");
  return 1;
}

}  // namespace

std::string data_fact(const Dataset& dataset) {
  constexpr int64_t kLooks = 16;
  const auto items = dataset.size();
  std::string content;
  for (int64_t i = 0; i < std::min(kLooks, items); ++i) {
    const auto batch = dataset.collate(std::array{i * items / std::min(kLooks, items)});
    for (const auto& tokens : {batch.source, batch.target})
      content.append(reinterpret_cast<const char*>(tokens.data()), tokens.size() * sizeof(int64_t));
  }
  return fmt::format("{} items, {} tokens, checksum {:08x}", items, dataset.tokens(),
                     std::hash<std::string>()(content) % (uint64_t{1} << 32));
}

RankGroups join_run(const RankPlace& place, const TrainOptions& options, const RunData& data,
                    torch::Device device) {
  const auto expert_ranks = expert_ranks_of(options, place.size);
  if (place.size == 1) return one_rank();
  if (!device.is_cpu()) {
    fail_usage("{} ranks on {}: several processes train on the CPU only, for now; add --device cpu",
               place.size, device.str());
  }
  auto all = join_ranks(place, facts_of_run(options, data), timeout_of(options.distributed));
  return make_rank_groups(std::move(all), expert_ranks);
}

void check_same_folder(const TrainOptions& options, Communicator& communicator) {
  namespace fs = std::filesystem;
  if (communicator.size() == 1 || options.checkpoint.no_save) return;
  const fs::path folder = options.checkpoint.save_dir;
  const auto rank = static_cast<size_t>(communicator.rank());
  constexpr uint64_t kExact = uint64_t{1} << 53;  // as a double
  std::random_device random;
  double token =
      rank == 0 ? static_cast<double>((uint64_t{random()} << 32 | random()) % kExact) : 0.0;
  const auto marker = [&] { return folder / fmt::format(".ranks-{:.0f}", token); };
  const std::shared_ptr<void> remove_marker(nullptr, [&](void*) {
    std::error_code ignored;
    if (rank == 0) fs::remove(marker(), ignored);
  });
  if (rank == 0) {
    fs::create_directories(folder);
    write_file(marker(), [](std::ostream&) {});
  }
  communicator.all_reduce_sum(token);
  // A network's file system may show a new file late.
  const auto end = std::chrono::steady_clock::now() + kFolderPatience;
  std::error_code unseen;
  while (!fs::exists(marker(), unseen) && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const bool sees = fs::exists(marker(), unseen);
  const auto misses = communicator.all_gather(sees ? 0 : 1);
  std::vector<size_t> without;
  for (size_t other = 0; other < misses.size(); ++other) {
    if (misses[other] > 0) without.push_back(other);
  }
  const std::string where =
      sees ? ""
           : fmt::format(" (this is rank {}, where it is {})", rank, fs::absolute(folder).string());
  EVOMOE_CHECK(without.empty(),
               "--save-dir {}: ranks {} do not see the folder of rank 0{}; give a folder that all "
               "machines share, with its whole path",
               folder.string(), fmt::join(without, ", "), where);
}

bool save_together(const TrainOptions& options, const RankGroups& ranks) {
  return ranks.experts->size() > 1 ||
         (zero_stage(options.distributed) > 0 && ranks.all->size() > 1);
}

TrainOptions silent(TrainOptions options) {
  options.common.log_format = "none";
  options.checkpoint.no_save = true;
  options.common.tensorboard_logdir.reset();
  options.resources.profile.reset();
  return options;
}

Interruption agree(Interruption own, Communicator& communicator) {
  const bool is_first = communicator.rank() == 0;
  std::array<double, 3> seen = {own.signal == SIGINT ? 1.0 : 0.0, own.signal == SIGTERM ? 1.0 : 0.0,
                                is_first ? own.seconds : 0.0};
  communicator.all_reduce_sum(seen);
  return {.signal = seen[0] > 0 ? SIGINT : seen[1] > 0 ? SIGTERM : 0, .seconds = seen[2]};
}

}  // namespace evomoe
