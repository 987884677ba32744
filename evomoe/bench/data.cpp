#include "evomoe/bench/data.h"

#include <fmt/format.h>

#include <numeric>

#include "evomoe/base/error.h"
#include "evomoe/base/temporary_folder.h"
#include "evomoe/bench/hash_data.h"
#include "evomoe/bench/machine_peak.h"
#include "evomoe/bench/process_memory.h"
#include "evomoe/bench/results.h"
#include "evomoe/bench/step.h"
#include "evomoe/data/epoch_iterator.h"
#include "evomoe/data/indexed_dataset.h"
#include "evomoe/data/language_model_data.h"
#include "evomoe/train/batches.h"

namespace evomoe::bench {
namespace {

std::string label_of(const ModelCase& model, int64_t workers) {
  return fmt::format("data-T{}-B{}-V{}-workers{}", model.seq, model.batch, model.vocab, workers);
}

/// A data-bin folder whose training set makes exactly `batches` full batches. Items have the length
/// of a line of text, so that blocks are put together from several.
void write_data(const std::filesystem::path& folder, const ModelCase& model, int64_t batches) {
  Dictionary dictionary;
  for (int64_t i = Dictionary::kSpecials; i < model.vocab; ++i)
    dictionary.add(fmt::format("w{}", i));
  dictionary.save(folder / "dict.txt");
  IndexedBuilder builder(folder / "train", model.vocab);
  constexpr int64_t kLine = 25;
  const auto words = static_cast<uint64_t>(model.vocab - Dictionary::kSpecials);
  std::vector<int64_t> line;
  const auto total = static_cast<uint64_t>(batches * model.tokens());
  for (uint64_t i = 0; i < total; ++i) {
    line.push_back(Dictionary::kSpecials + static_cast<int64_t>(hash_word(0, i) % words));
    if (static_cast<int64_t>(line.size()) == kLine || i + 1 == total) {
      line.back() = Dictionary::kEos;
      builder.add(line);
      line.clear();
    }
  }
  builder.finish();
}

/// As `evomoe train` reads the folder.
std::unique_ptr<EpochIterator> open_iterator(LanguageModelData& data, const ModelCase& model,
                                             int64_t workers) {
  auto options = train_options(model);
  options.dataset.batch_size = model.batch;
  options.dataset.required_batch_size_multiple = 1;
  options.dataset.num_workers = workers;
  return std::make_unique<EpochIterator>(data.train(1, "train"),
                                         iterator_options(options, /*training=*/true));
}

/// Reads whole epochs and does nothing with them.
nlohmann::ordered_json measure_reading(EpochIterator& iterator, const ModelCase& model,
                                       const DataBenchOptions& options, const MachinePeak& peak) {
  int64_t epoch = 0, batches = 0;
  const auto read = [&] {
    iterator.start_epoch(++epoch);
    for (batches = 0; iterator.next_update(); ++batches) {
    }
  };
  measure(read, std::min<int64_t>(1, options.run.warmup));
  Result result;
  const auto faults = minor_faults();
  result.timing = measure(
      read, options.run.repeats, [] {}, options.run.budget_s);
  result.faults = minor_faults() - faults;
  result.impl = "evomoe:reading";
  result.case_label = label_of(model, options.num_workers);
  result.tokens = static_cast<double>(batches * model.tokens());
  auto line = result_line(result, peak);
  line["batches_per_s"] = rounded(1e3 * static_cast<double>(batches) / result.timing.median(), 1);
  return line;
}

/// Trains on the batches; a repeat is a step with the wait for its batch.
nlohmann::ordered_json measure_training(EpochIterator& iterator, const ModelCase& model,
                                        const DataBenchOptions& options, const MachinePeak& peak) {
  const auto trainer = make_trainer(model);
  int64_t epoch = 0;
  std::vector<double> wait_ms;
  const auto step = [&] {
    std::optional<std::vector<Batch>> batches;
    wait_ms.push_back(milliseconds([&] {
      if (epoch > 0) batches = iterator.next_update();
      if (!batches) {
        iterator.start_epoch(++epoch);
        batches = iterator.next_update();
      }
    }));
    trainer->update(*batches, epoch);
  };
  measure(step, std::max<int64_t>(1, options.run.warmup));
  wait_ms.clear();
  Result result;
  const auto faults = minor_faults();
  result.timing = measure(
      step, options.run.repeats, [] {}, options.run.budget_s);
  result.faults = minor_faults() - faults;
  result.impl = "evomoe:training";
  result.case_label = label_of(model, options.num_workers);
  result.tokens = static_cast<double>(model.tokens());
  result.gflop = model.step_gflop();
  auto line = result_line(result, peak);
  const auto sum = [](const std::vector<double>& values) {
    return std::accumulate(values.begin(), values.end(), 0.0);
  };
  line["wait_ms_median"] = rounded(median_of(wait_ms), 4);
  line["wait_ms_max"] = rounded(*std::max_element(wait_ms.begin(), wait_ms.end()), 4);
  line["wait_percent"] = rounded(100 * sum(wait_ms) / sum(result.timing.samples_ms), 4);
  line["batches_per_s"] = rounded(1e3 / result.timing.median(), 1);
  return line;
}

}  // namespace

void describe(OptionTable& table, DataBenchOptions& o) {
  describe(table, o.model);
  table.group("data", "The data");
  table.add("epoch-batches", &o.epoch_batches, "Batches of an epoch.").at_least(1);
  table.add("num-workers", &o.num_workers, "Threads that make batches ahead; 0: none.").at_least(0);
  table
      .add("folder", &o.folder, "Where the data set is made, for a while; not given: the system's.")
      .metavar("DIR");
  describe(table, o.run);
}

void run(const DataBenchOptions& options) {
  if (options.run.list) {
    fmt::print("{}", suite_list(model_suites()));
    return;
  }
  const auto model = model_case(options.run.suite, options.model);
  if (model.vocab <= Dictionary::kSpecials) {
    fail_usage("--vocab {}: a data set needs more symbols than the {} special ones", model.vocab,
               Dictionary::kSpecials);
  }
  use_threads(options.run);
  const TemporaryFolder folder(options.folder, "choose another one with --folder");
  write_data(folder.path(), model, options.epoch_batches);
  LanguageModelData data(folder.path().string(), {.tokens_per_sample = model.seq});
  Results results({{"case", "case"},
                   {"impl", "impl"},
                   {"ms_median", "median ms", 2},
                   {"ms_min", "min ms", 2},
                   {"batches_per_s", "batches/s", 1},
                   {"tokens_per_s", "tokens/s"},
                   {"wait_ms_median", "wait ms", 4},
                   {"wait_ms_max", "longest wait ms", 4},
                   {"wait_percent", "wait % of a step", 3}});
  MachinePeak peak(options.run.peak_seconds);
  peak.measure();
  auto iterator = open_iterator(data, model, options.num_workers);
  results.add(measure_reading(*iterator, model, options, peak));
  results.add(measure_training(*iterator, model, options, peak));
  results.print_table();
}

}  // namespace evomoe::bench
