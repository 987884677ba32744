#include "evomoe/bench/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "evomoe/base/error.h"
#include "evomoe/base/temporary_folder.h"
#include "evomoe/bench/machine_peak.h"
#include "evomoe/bench/process_memory.h"
#include "evomoe/bench/results.h"
#include "evomoe/bench/step.h"
#include "evomoe/checkpoint/checkpoint_manager.h"

namespace evomoe::bench {
namespace {

double sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

/// Steps of one kind, in rounds.
struct Rounds {
  std::vector<double> step_ms;   ///< the save that comes before a step belongs to it
  std::vector<double> round_ms;  ///< with what is still to be written at its end
  std::vector<double> save_ms;   ///< of the call that asks for the checkpoint
  double peak_mib = 0;
};

class CheckpointRun {
 public:
  CheckpointRun(const ModelCase& model, const CheckpointBenchOptions& options,
                const std::filesystem::path& folder)
      : options_(options),
        folder_(folder),
        trainer_(make_trainer(model)),
        manager_(folder, {.asynchronous = true}) {
    trainer_->before_change([this] { manager_.wait_for_copy(); });
    for (int64_t n = 0; n < 4; ++n) batches_.push_back({hash_batch(model, n)});
  }

  void step() { trainer_->update(batches_[step_++ % batches_.size()], /*epoch=*/1); }

  /// save_interval steps, `save`: after a checkpoint was asked for.
  void round(bool save, Rounds& rounds, PeakMemory& memory) {
    memory.restart();
    const double ms = milliseconds([&] {
      for (int64_t i = 0; i < options_.save_interval; ++i) {
        double save_ms = 0;
        if (save && i == 0) {
          save_ms = milliseconds([&] { ask_for_checkpoint(); });
          rounds.save_ms.push_back(save_ms);
        }
        rounds.step_ms.push_back(save_ms + milliseconds([&] { step(); }));
      }
      // The next checkpoint would wait for this one.
      if (save) manager_.finish();
    });
    rounds.round_ms.push_back(ms);
    rounds.peak_mib = std::max(rounds.peak_mib, memory.peak_mib());
  }

  /// Bytes of the checkpoint that was written last.
  double checkpoint_mib() const {
    double bytes = 0;
    for (const auto& file : std::filesystem::recursive_directory_iterator(folder_)) {
      if (file.is_regular_file()) bytes += static_cast<double>(file.file_size());
    }
    return bytes / (1 << 20);
  }

 private:
  void ask_for_checkpoint() {
    Checkpoint checkpoint;
    checkpoint.model = trainer_->model_state();
    checkpoint.optimizer = trainer_->optimizer_state();
    checkpoint.state.updates = trainer_->updates();
    manager_.save({.updates = trainer_->updates()}, checkpoint);
  }

  const CheckpointBenchOptions& options_;
  std::filesystem::path folder_;
  std::unique_ptr<Trainer> trainer_;
  CheckpointManager manager_;
  std::vector<std::vector<Batch>> batches_;
  size_t step_ = 0;
};

/// `plain_step_ms`: median of the steps without checkpoints.
nlohmann::ordered_json line_of(const std::string& impl, const Rounds& rounds, double plain_step_ms,
                               const ModelCase& model, int64_t interval, const MachinePeak& peak) {
  Result result;
  result.impl = impl;
  result.case_label = fmt::format("{}-every{}steps", model.label(), interval);
  result.timing = {rounds.step_ms};
  result.tokens = static_cast<double>(model.tokens());
  result.gflop = model.step_gflop();
  result.peak_mib = rounds.peak_mib;
  auto line = result_line(result, peak);
  line.erase("minor_faults");
  line["round_ms_median"] = rounded(median_of(rounds.round_ms), 3);
  line["longest_pause_steps"] = rounded(result.timing.maximum() / plain_step_ms - 1, 4);
  return line;
}

void measure_checkpoints(const ModelCase& model, const CheckpointBenchOptions& options,
                         const std::filesystem::path& folder, const MachinePeak& peak,
                         Results& results) {
  PeakMemory memory;
  CheckpointRun run(model, options, folder);
  measure([&] { run.step(); }, std::max<int64_t>(1, options.run.warmup));
  Rounds plain, saving, warm_up;
  run.round(/*save=*/true, warm_up, memory);
  for (int64_t i = 0; i < options.run.repeats; ++i) {
    run.round(/*save=*/false, plain, memory);
    run.round(/*save=*/true, saving, memory);
    const double spent = 1e-3 * (sum(plain.round_ms) + sum(saving.round_ms));
    if (i >= 2 && spent > options.run.budget_s) break;
  }
  const double step = median_of(plain.step_ms);
  const auto interval = options.save_interval;
  results.add(line_of("evomoe:no-checkpoint", plain, step, model, interval, peak));
  auto line = line_of("evomoe:asynchronous-checkpoint", saving, step, model, interval, peak);
  // Each round is compared with the one right before it: the machine's speed drifts.
  std::vector<double> slower;
  for (size_t i = 0; i < saving.round_ms.size(); ++i)
    slower.push_back(rounded(100 * (saving.round_ms[i] / plain.round_ms[i] - 1), 3));
  line["slower_percent"] = rounded(median_of(slower), 3);
  line["slower_percent_rounds"] = slower;
  const double extra_ms = median_of(saving.round_ms) - median_of(plain.round_ms);
  line["extra_ms_per_checkpoint"] = rounded(extra_ms, 2);
  // Divided by the steps from one checkpoint to the next it is how much slower a run becomes.
  line["steps_per_checkpoint"] = rounded(extra_ms / step, 3);
  line["save_call_ms_max"] =
      rounded(*std::max_element(saving.save_ms.begin(), saving.save_ms.end()), 3);
  line["checkpoint_mb"] = rounded(run.checkpoint_mib(), 1);
  results.add(line);
}

}  // namespace

void describe(OptionTable& table, CheckpointBenchOptions& o) {
  describe(table, o.model);
  table.group("checkpoint", "Checkpoints");
  table.add("save-interval", &o.save_interval, "Steps from one checkpoint to the next.")
      .at_least(1);
  table
      .add("folder", &o.folder,
           "Where checkpoints are written, for a while (the disk matters); not given: the system's "
           "folder for temporary files.")
      .metavar("DIR");
  describe(table, o.run);
}

void run(const CheckpointBenchOptions& options) {
  if (options.run.list) {
    fmt::print("{}", suite_list(model_suites()));
    return;
  }
  const auto model = model_case(options.run.suite, options.model);
  use_threads(options.run);
  const TemporaryFolder folder(options.folder, "choose another one with --folder");
  Results results({{"case", "case"},
                   {"impl", "impl"},
                   {"ms_median", "step ms", 1},
                   {"ms_max", "longest step ms", 1},
                   {"round_ms_median", "round ms", 1},
                   {"slower_percent", "slower %", 2},
                   {"extra_ms_per_checkpoint", "ms / checkpoint", 1},
                   {"steps_per_checkpoint", "steps / checkpoint", 2},
                   {"save_call_ms_max", "longest save call ms", 1},
                   {"longest_pause_steps", "longest pause, steps", 3},
                   {"checkpoint_mb", "checkpoint MiB"},
                   {"peak_mem_mb", "MiB"}});
  MachinePeak peak(options.run.peak_seconds);
  peak.measure();
  measure_checkpoints(model, options, folder.path(), peak, results);
  results.print_table();
}

}  // namespace evomoe::bench
