#include "evomoe/bench/step.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>

#include "evomoe/base/error.h"
#include "evomoe/bench/machine_peak.h"
#include "evomoe/bench/phase_clock.h"
#include "evomoe/bench/process_memory.h"
#include "evomoe/bench/results.h"
#include "evomoe/runtime/compute_threads.h"

namespace evomoe::bench {
namespace {

/// The rows of a batch that are this rank's: an equal part.
Batch share_of(Batch batch, const Communicator& ranks) {
  const auto rows = batch.rows / ranks.size(), first = rows * ranks.rank();
  const auto cut = [&](std::vector<int64_t>& values, int64_t of_row) {
    if (values.empty()) return;
    const auto begin = values.begin() + first * of_row;
    values = std::vector<int64_t>(begin, begin + rows * of_row);
  };
  cut(batch.source, batch.columns);
  cut(batch.target, batch.target_columns);
  cut(batch.ids, 1);
  cut(batch.lengths, 1);
  batch.tokens = batch.tokens / batch.rows * rows;
  batch.rows = rows;
  batch.first_sequence += first;
  return batch;
}

/// Bytes that this machine has sent to itself so far; 0 where the system does not say it.
int64_t loopback_bytes() {
  std::ifstream devices("/proc/net/dev");
  for (std::string line; std::getline(devices, line);) {
    const auto colon = line.find(':');
    if (colon == line.npos || line.substr(0, colon).find("lo") == line.npos) continue;
    int64_t received = 0;
    std::istringstream(line.substr(colon + 1)) >> received;
    return received;
  }
  return 0;
}

/// The largest of the values that ranks have.
double largest(double own, Communicator& ranks) {
  const auto of_rank = ranks.all_gather(own);
  return *std::ranges::max_element(of_rank);
}

/// How the ranks divide the model, in the name of the implementation.
std::string layout_text(const DistributedOptions& distributed, int64_t expert_ranks) {
  const auto stage = zero_stage(distributed);
  return (expert_ranks > 1 ? fmt::format(":ep{}", expert_ranks) : "") +
         (stage > 0 ? fmt::format(":zero{}", stage) : "");
}

/// A trainer and the batches that it takes in turn.
class StepRun {
 public:
  /// `threads`: as --threads.
  StepRun(const ModelCase& model, int64_t batches, bool balanced, int64_t threads = 0,
          const DistributedOptions& distributed = {}, RankGroups ranks = one_rank())
      : trainer_(make_trainer(model, balanced, distributed, std::move(ranks))),
        clock_(trainer_->model()),
        threads_(threads) {
    for (int64_t n = 0; n < batches; ++n)
      batches_.push_back({share_of(hash_batch(model, n), trainer_->communicator())});
  }

  void step() {
    clock_.start();
    threads_.begin();
    const auto result = trainer_->update(batches_[losses_.size() % batches_.size()], /*epoch=*/1);
    threads_.end(result.flops);
    losses_.push_back(result.sums.inner / static_cast<double>(result.sums.sample_size));
    norms_.push_back(result.gradient_norm);
    assignments_ = 0;
    for (const auto& [layer, stats] : result.routers) assignments_ += stats.assignments;
    forward_backward_ms_.push_back(clock_.until_last_gradient_ms());
  }

  /// Forgets the phases so far: what comes next is measured.
  void start_measuring() { forward_backward_ms_.clear(); }

  const std::vector<double>& losses() const { return losses_; }
  const std::vector<double>& norms() const { return norms_; }
  Communicator& ranks() { return trainer_->communicator(); }
  const std::vector<double>& forward_backward_ms() const { return forward_backward_ms_; }
  int64_t assignments() const { return assignments_; }
  const std::vector<NamedParameter>& parameters() const { return trainer_->parameters(); }

 private:
  std::unique_ptr<Trainer> trainer_;
  PhaseClock clock_;
  ComputeThreads threads_;
  std::vector<std::vector<Batch>> batches_;
  std::vector<double> losses_, norms_, forward_backward_ms_;
  int64_t assignments_ = 0;
};

/// One step of a toy model, so that code that is loaded on first use is not charged to the model
/// that is measured.
void prime() {
  const ModelCase toy{.layers = 2,
                      .dim = 16,
                      .heads = 2,
                      .ffn = 24,
                      .experts = 2,
                      .vocab = 32,
                      .seq = 8,
                      .batch = 1};
  StepRun(toy, 1, /*balanced=*/false).step();
}

/// What the optimiser of this rank updates: with --zero-stage a part.
int64_t trained_parameters(const std::vector<NamedParameter>& parameters) {
  int64_t count = 0;
  for (const auto& parameter : parameters) count += parameter.tensor.numel();
  return count;
}

nlohmann::ordered_json measure_steps(const ModelCase& model, const StepOptions& options,
                                     const MachinePeak& peak, std::shared_ptr<Communicator> all) {
  const bool balanced = options.debug_balanced_routing;
  prime();
  PeakMemory memory;
  const auto ranks = all->size();
  const auto expert_ranks =
      expert_parallel_size(options.distributed, model.moe_layers() > 0 ? model.experts : 0, ranks);
  StepRun run(model, options.batches, balanced, options.run.threads, options.distributed,
              make_rank_groups(all, expert_ranks));
  const auto step = [&] { run.step(); };
  measure(step, options.run.warmup);
  memory.restart();
  run.start_measuring();
  const auto faults = minor_faults();
  const auto sent = all->bytes_sent(), on_loopback = loopback_bytes();
  Result result;
  // Ranks that stopped at other times would wait for each other.
  const auto budget = ranks == 1 ? options.run.budget_s : std::numeric_limits<double>::infinity();
  result.timing = measure(
      step, options.run.repeats, [] {}, budget);
  const auto repeats = static_cast<double>(result.timing.samples_ms.size());
  const auto in_mib = [&](int64_t bytes) {
    return rounded(static_cast<double>(bytes) / repeats / (1 << 20), 3);
  };
  const auto sent_mib = in_mib(all->bytes_sent() - sent);
  const auto on_loopback_mib = in_mib(loopback_bytes() - on_loopback) / ranks;
  result.faults = minor_faults() - faults;
  result.peak_mib = largest(memory.peak_mib(), *all);
  result.impl = (balanced ? "evomoe:balanced-routing" : "evomoe") +
                layout_text(options.distributed, expert_ranks);
  result.case_label = model.label();
  result.tokens = static_cast<double>(model.tokens());
  result.gflop = model.step_gflop();
  result.checksum["first_loss"] = rounded(run.losses().front(), 6);
  result.checksum["last_loss"] = rounded(run.losses().back(), 6);
  auto line = result_line(result, peak);
  const double forward_backward = median_of(run.forward_backward_ms());
  std::vector<double> optimizer;
  for (size_t i = 0; i < result.timing.samples_ms.size(); ++i)
    optimizer.push_back(result.timing.samples_ms[i] - run.forward_backward_ms()[i]);
  line["forward_backward_ms"] = rounded(forward_backward, 3);
  line["optimizer_ms"] = rounded(median_of(optimizer), 3);
  const auto parameters = trained_parameters(run.parameters());
  const double mib = static_cast<double>(parameters) * 4 / (1 << 20);
  line["resident_mb"] = {{"parameters", rounded(mib, 1)},
                         {"gradients", rounded(mib, 1)},
                         {"adam", rounded(2 * mib, 1)},
                         {"beyond", rounded(result.peak_mib - 4 * mib, 1)}};
  line["beyond_mb"] = rounded(result.peak_mib - 4 * mib, 1);
  line["steps"] = run.losses().size();
  line["model_gflop"] = rounded(model.step_gflop(), 3);
  line["parameters"] = parameters;
  line["active_matrix_parameters"] = model.active_matrix_parameters();
  line["active_experts"] =
      model.moe_layers() == 0
          ? 0.0
          : rounded(static_cast<double>(run.assignments()) /
                        static_cast<double>(model.tokens() * model.moe_layers()),
                    4);
  line["first_loss"] = rounded(run.losses().front(), 6);
  line["last_loss"] = rounded(run.losses().back(), 6);
  line["first_norm"] = rounded(run.norms().front(), 6);
  line["ranks"] = ranks;
  line["comm_mb"] = sent_mib;
  line["comm_mb_on_lo"] = rounded(on_loopback_mib, 3);
  line["loss_group"] = balanced ? "balanced" : model.moe_layers() > 0 ? "moe" : "dense";
  return line;
}

}  // namespace

void describe(OptionTable& table, StepOptions& o) {
  describe(table, o.model);
  table.group("training", "Training");
  table.add("balance-weight", &o.balance_weight, "Weight of the balance loss.").at_least(0);
  table.add("lr", &o.lr, "Learning rate.").above(0);
  table.add("weight-decay", &o.weight_decay, "Weight decay.").at_least(0);
  table.add("clip", &o.clip, "Clip the norm of the gradient; 0: not.").at_least(0);
  table.add("batches", &o.batches, "Distinct batches, used in turn.").at_least(1);
  table.add("debug-balanced-routing", &o.debug_balanced_routing,
            "Replace the routers' choice by equal loads: an upper bound of the speed.");
  describe(table, o.run);
  o.distributed.describe(table);
}

void run(const StepOptions& options, std::shared_ptr<Communicator> ranks) {
  if (options.run.list) {
    fmt::print("{}", suite_list(model_suites()));
    return;
  }
  auto model = model_case(options.run.suite, options.model);
  model.balance_weight = options.balance_weight;
  model.lr = options.lr;
  model.weight_decay = options.weight_decay;
  model.clip = options.clip;
  if (model.batch % ranks->size() != 0) {
    fail_usage("--batch {}: {} ranks cannot take equal parts of it", model.batch, ranks->size());
  }
  use_threads(options.run);
  Results results({{"case", "case"},
                   {"impl", "impl"},
                   {"ranks", "ranks"},
                   {"ms_median", "median ms", 1},
                   {"ms_min", "min ms", 1},
                   {"forward_backward_ms", "forward + backward", 1},
                   {"optimizer_ms", "optimizer", 1},
                   {"tokens_per_s", "tokens/s"},
                   {"gflops", "GFLOP/s", 1},
                   {"sgemm_gflops", "peak", 1},
                   {"sgemm_fraction", "MFU", 3},
                   {"peak_mem_mb", "MiB"},
                   {"beyond_mb", "beyond 16 B/param"},
                   {"minor_faults", "page faults"},
                   {"first_loss", "first loss", 4},
                   {"last_loss", "last loss", 4}});
  MachinePeak peak(options.run.peak_seconds);
  peak.measure();
  auto line = measure_steps(model, options, peak, ranks);
  if (ranks->rank() > 0) return;
  results.add(std::move(line));
  results.print_table();
}

std::unique_ptr<Trainer> make_trainer(const ModelCase& model, bool balanced,
                                      const DistributedOptions& distributed, RankGroups ranks) {
  auto options = train_options(model, balanced);
  const auto make = [&](RankGroups of) {
    return std::make_unique<Trainer>(options, Vocabulary::of_one(model.vocab, kNoPadding),
                                     torch::kCPU, /*completed_updates=*/0, /*shared_expert=*/false,
                                     std::move(of));
  };
  auto whole = make(one_rank());
  fill_model(whole->model(), model);
  if (ranks.all->size() == 1) return whole;
  options.distributed = distributed;
  auto trainer = make(std::move(ranks));
  trainer->load_model_state(whole->model_state(), "the hash-made model", "");
  return trainer;
}

std::pair<double, double> first_and_last_loss(const ModelCase& model, int64_t steps,
                                              int64_t batches) {
  StepRun run(model, batches, /*balanced=*/false);
  for (int64_t i = 0; i < steps; ++i) run.step();
  return {run.losses().front(), run.losses().back()};
}

}  // namespace evomoe::bench
