#include "evomoe/bench/step.h"

#include <fmt/format.h>

#include "evomoe/base/error.h"
#include "evomoe/bench/machine_peak.h"
#include "evomoe/bench/phase_clock.h"
#include "evomoe/bench/process_memory.h"
#include "evomoe/bench/results.h"
#include "evomoe/runtime/compute_threads.h"

namespace evomoe::bench {
namespace {

/// A trainer and the batches that it takes in turn.
class StepRun {
 public:
  /// `threads`: as --threads.
  StepRun(const ModelCase& model, int64_t batches, bool balanced, int64_t threads = 0)
      : trainer_(make_trainer(model, balanced)), clock_(trainer_->model()), threads_(threads) {
    for (int64_t n = 0; n < batches; ++n) batches_.push_back({hash_batch(model, n)});
  }

  void step() {
    clock_.start();
    threads_.begin();
    const auto result = trainer_->update(batches_[losses_.size() % batches_.size()], /*epoch=*/1);
    threads_.end(result.flops);
    losses_.push_back(result.sums.inner / static_cast<double>(result.sums.sample_size));
    assignments_ = 0;
    for (const auto& [layer, stats] : result.routers) assignments_ += stats.assignments;
    forward_backward_ms_.push_back(clock_.until_last_gradient_ms());
  }

  /// Forgets the phases so far: what comes next is measured.
  void start_measuring() { forward_backward_ms_.clear(); }

  const std::vector<double>& losses() const { return losses_; }
  const std::vector<double>& forward_backward_ms() const { return forward_backward_ms_; }
  int64_t assignments() const { return assignments_; }
  const std::vector<NamedParameter>& parameters() const { return trainer_->parameters(); }

 private:
  std::unique_ptr<Trainer> trainer_;
  PhaseClock clock_;
  ComputeThreads threads_;
  std::vector<std::vector<Batch>> batches_;
  std::vector<double> losses_, forward_backward_ms_;
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

int64_t trained_parameters(const std::vector<NamedParameter>& parameters) {
  int64_t count = 0;
  for (const auto& parameter : parameters) {
    if (parameter.tensor.requires_grad()) count += parameter.tensor.numel();
  }
  return count;
}

nlohmann::ordered_json measure_steps(const ModelCase& model, const StepOptions& options,
                                     const MachinePeak& peak) {
  const bool balanced = options.debug_balanced_routing;
  prime();
  PeakMemory memory;
  StepRun run(model, options.batches, balanced, options.run.threads);
  const auto step = [&] { run.step(); };
  measure(step, options.run.warmup);
  memory.restart();
  run.start_measuring();
  const auto faults = minor_faults();
  Result result;
  result.timing = measure(
      step, options.run.repeats, [] {}, options.run.budget_s);
  result.faults = minor_faults() - faults;
  result.peak_mib = memory.peak_mib();
  result.impl = balanced ? "evomoe:balanced-routing" : "evomoe";
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
}

void run(const StepOptions& options) {
  if (options.run.list) {
    fmt::print("{}", suite_list(model_suites()));
    return;
  }
  auto model = model_case(options.run.suite, options.model);
  model.balance_weight = options.balance_weight;
  model.lr = options.lr;
  model.weight_decay = options.weight_decay;
  model.clip = options.clip;
  use_threads(options.run);
  Results results({{"case", "case"},
                   {"impl", "impl"},
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
  results.add(measure_steps(model, options, peak));
  results.print_table();
}

std::unique_ptr<Trainer> make_trainer(const ModelCase& model, bool balanced) {
  auto trainer = std::make_unique<Trainer>(train_options(model, balanced),
                                           Vocabulary::of_one(model.vocab, kNoPadding), torch::kCPU,
                                           /*completed_updates=*/0, /*shared_expert=*/false);
  fill_model(trainer->model(), model);
  return trainer;
}

std::pair<double, double> first_and_last_loss(const ModelCase& model, int64_t steps,
                                              int64_t batches) {
  StepRun run(model, batches, /*balanced=*/false);
  for (int64_t i = 0; i < steps; ++i) run.step();
  return {run.losses().front(), run.losses().back()};
}

}  // namespace evomoe::bench
