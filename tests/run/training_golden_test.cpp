// Whole training runs of the authors' trainer, reproduced from their initial weights (tolerances:
// the README beside the runs).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <iostream>

#include "evomoe/data/epoch_iterator.h"
#include "evomoe/loading/fairseq_export.h"
#include "evomoe/loading/fairseq_import.h"
#include "evomoe/report/log_line.h"
#include "evomoe/report/run_log.h"
#include "evomoe/run/training_run.h"
#include "evomoe/train/batches.h"
#include "evomoe/train/task.h"
#include "evomoe/train/trainer.h"
#include "evomoe/train/validation.h"
#include "tests/run/golden_run.h"
#include "tests/testing/paths.h"
#include "tests/testing/ranks.h"

namespace evomoe {
namespace {

using testing::GoldenRun;

constexpr int64_t kUpdateWithStaleMasks = 23;
constexpr double kFloat32 = 1e-7;  // relative; the reference's value is a float32

double relative(double ours, double theirs) {
  return std::abs(ours - theirs) / std::max(std::abs(theirs), 1e-30);
}

class TrainingGolden : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "absent")
      GTEST_SKIP() << "no golden training runs at " << testing::golden_training_dir();
    run_ = testing::read_golden_run(GetParam());
  }

  /// A test that reads the text of the runs skips where that is absent.
  static bool text_is_absent() { return !std::filesystem::exists(testing::golden_text_dir()); }
  static std::string absent_text() {
    return fmt::format("the text of the runs is not at {} (EVOMOE_GOLDEN_TEXT)",
                       testing::golden_text_dir().string());
  }

  std::unique_ptr<Trainer> make_trainer(RankGroups ranks = one_rank()) const {
    const auto symbols = run_.flags.at("model").at("vocab").get<int64_t>();
    auto trainer = std::make_unique<Trainer>(
        run_.options, Vocabulary::of_one(symbols, Dictionary::kPad), torch::kCPU, std::move(ranks));
    trainer->load_model_state(
        testing::to_our_names(read_safetensors(run_.folder / "init.safetensors"), run_), "init",
        "");
    return trainer;
  }

  /// Trains one update with the run's noise and compares it with the trace.
  void check_update(Trainer& trainer, const std::vector<Batch>& micro_batches,
                    const TensorMap& noise) {
    const auto& theirs = run_.updates.at(trainer.updates());
    check_result(train_update(trainer, micro_batches, noise), theirs);
  }

  /// `micro_batches`: of all ranks; a rank takes every so many of them, or stands in.
  UpdateResult train_update(Trainer& trainer, const std::vector<Batch>& micro_batches,
                            const TensorMap& noise) const {
    const auto& theirs = run_.updates.at(trainer.updates());
    const auto number = theirs.at("update").get<int64_t>();
    const auto ranks = static_cast<size_t>(trainer.communicator().size());
    std::vector<Batch> share;
    std::vector<size_t> index;
    for (auto m = static_cast<size_t>(trainer.communicator().rank());
         m < (micro_batches.size() + ranks - 1) / ranks * ranks; m += ranks) {
      const bool stands_in = m >= micro_batches.size();
      index.push_back(stands_in ? 0 : m);
      share.push_back(micro_batches.at(index.back()));
      if (!stands_in) continue;
      share.back().stands_in = true;
      share.back().ids.clear();
    }
    if (run_.flags.contains("dts")) {
      trainer.set_recorded_noise([&, number](int64_t own, int64_t layer) {
        const auto micro_batch = static_cast<int64_t>(index.at(static_cast<size_t>(own)));
        const auto& batch = micro_batches.at(static_cast<size_t>(micro_batch));
        const bool of_encoder = is_pair() && layer < run_.flags.at("model").at("layers");
        const auto columns = of_encoder ? batch.columns : batch.target_columns;
        return testing::golden_noise(noise, number, micro_batch, layer,
                                     run_.rows_of_moe(batch.rows) * columns,
                                     run_.options.moe.moe_expert_count);
      });
    }
    return trainer.update(share, theirs.at("epoch").get<int64_t>());
  }

  void check_result(const UpdateResult& ours, const nlohmann::json& theirs) {
    const auto number = theirs.at("update").get<int64_t>();
    const auto where = fmt::format("{} update {}", run_.name, number);
    const auto samples = static_cast<double>(ours.sums.sample_size);
    EXPECT_EQ(ours.sums.sample_size, theirs.at("sample_size").get<int64_t>()) << where;
    EXPECT_NEAR(ours.lr, theirs.at("lr").get<double>(), 1e-12 * std::abs(ours.lr) + 1e-18) << where;
    const double of_loss = is_pair() ? 1e-5 : 2e-6, of_gnorm = is_pair() ? 1e-3 : 5e-6;
    compare("loss", ours.sums.loss / samples, theirs.at("loss"), of_loss, where);
    if (theirs.contains("inner_loss"))
      compare("inner_loss", ours.sums.inner / samples, theirs.at("inner_loss"), of_loss, where);
    if (theirs.contains("nll_loss"))
      compare("nll_loss", ours.sums.nll / samples, theirs.at("nll_loss"), of_loss, where);
    if (theirs.contains("moe_gate_loss"))
      compare("moe_gate_loss", ours.sums.gate / samples, theirs.at("moe_gate_loss"), of_loss,
              where);
    compare("gnorm", ours.gradient_norm, theirs.at("gnorm"), of_gnorm, where);
    compare("clip_coef", ours.clip_coefficient, theirs.at("clip_coef"), of_gnorm, where);
    if (theirs.contains("tau")) {
      EXPECT_NEAR(ours.stage.schedule.temperature, theirs.at("tau").get<double>(), 1e-12) << where;
      EXPECT_EQ(ours.stage.schedule.hard, theirs.at("phase").get<std::string>() == "hard") << where;
      compare("gumbel_avg_experts", ours.sums.metrics.at(0).second / samples,
              theirs.at("gumbel_avg_experts"), kFloat32, where);
    }
    // Every assignment of every layer: its number after capacity drops.
    for (size_t layer = 0; layer < ours.routers.size(); ++layer) {
      int64_t dispatched = 0;
      for (const auto& micro : theirs.at("micro")) {
        for (const auto& count : micro.at("layers").at(layer).at("dispatched_per_expert"))
          dispatched += count.get<int64_t>();
      }
      EXPECT_EQ(ours.routers[layer].second.assignments, dispatched) << where << " layer " << layer;
    }
  }

  void compare(const std::string& what, double ours, const nlohmann::json& theirs, double tolerance,
               const std::string& where) {
    const double deviation = relative(ours, theirs.get<double>());
    auto& largest = largest_[what];
    largest = std::max(largest, deviation);
    EXPECT_LE(deviation, tolerance)
        << where << " " << what << ": " << ours << " instead of " << theirs;
  }

  void check_gradients(const Trainer& trainer) {
    const auto theirs =
        testing::to_our_names(read_safetensors(run_.folder / "grads_update1.safetensors"), run_);
    const auto samples = run_.updates.at(0).at("sample_size").get<double>();
    for (const auto& parameter : trainer.parameters()) {
      ASSERT_TRUE(theirs.contains(parameter.name)) << parameter.name;
      const double deviation = (parameter.tensor.grad() / samples - theirs.at(parameter.name))
                                   .abs()
                                   .max()
                                   .item<double>();
      largest_["gradient (absolute)"] = std::max(largest_["gradient (absolute)"], deviation);
      EXPECT_LE(deviation, 1e-6) << parameter.name;
    }
  }

  void check_final(const Trainer& trainer) { check_final(trainer.model_state()); }

  void check_final(const TensorMap& ours) {
    const auto theirs =
        testing::to_our_names(read_safetensors(run_.folder / "final.safetensors"), run_);
    EXPECT_EQ(ours.size(), theirs.size());
    for (const auto& [name, tensor] : theirs) {
      // Its gradient is zero but for rounding, which Adam turns into steps
      // (docs/reference.md section 12.1.4).
      if (name.ends_with("k_proj.bias")) continue;
      const double deviation = (ours.at(name) - tensor).abs().max().item<double>();
      largest_["final weight (absolute)"] =
          std::max(largest_["final weight (absolute)"], deviation);
      EXPECT_LE(deviation, is_pair() ? 1e-3 : 1e-5) << name;
    }
  }

  void check_validation(Trainer& trainer) {
    for (const auto& validation : run_.validations) {
      if (validation.at("num_updates").get<int64_t>() != trainer.updates()) continue;
      const auto batches = read_safetensors(run_.folder / "valid_batches.safetensors");
      LossSums total;
      for (size_t i = 0; i < validation.at("batches").size(); ++i) {
        total +=
            evaluate_batch(trainer.model(), trainer.criterion(), run_.options,
                           testing::stored_batch(batches, fmt::format("b{:02}", i), is_masked()),
                           torch::kCPU, /*as_trained=*/false, trainer.updates());
      }
      EXPECT_EQ(total.sample_size, validation.at("sample_size").get<int64_t>());
      const double deviation = std::abs(total.loss / static_cast<double>(total.sample_size) -
                                        validation.at("loss").get<double>());
      largest_["validation loss (absolute)"] =
          std::max(largest_["validation loss (absolute)"], deviation);
      EXPECT_LE(deviation, is_pair() ? 1e-4 : 3e-6)
          << run_.name << " validation after update " << trainer.updates();
    }
  }

  void TearDown() override {
    for (const auto& [what, deviation] : largest_)
      std::cout << run_.name << ": largest deviation of " << what << ": " << deviation << "\n";
  }

  /// ReLU has kinks, so that the runs of translation have wider tolerances.
  bool is_pair() const { return run_.options.task.task == "translation"; }
  bool is_masked() const { return run_.options.task.task == "masked_lm"; }

  GoldenRun run_;
  std::map<std::string, double> largest_;
};

TEST_P(TrainingGolden, IsReproducedFromTheStoredBatches) {
  auto trainer = make_trainer();
  const auto batches = read_safetensors(run_.folder / "batches.safetensors");
  const auto noise_file = run_.folder / "noise.safetensors";
  const auto noise =
      std::filesystem::exists(noise_file) ? read_safetensors(noise_file) : TensorMap();
  check_validation(*trainer);
  for (const auto& update : run_.updates) {
    std::vector<Batch> micro_batches;
    for (size_t m = 0; m < update.at("micro").size(); ++m) {
      micro_batches.push_back(testing::stored_batch(
          batches, fmt::format("u{:04}.m{}", update.at("update").get<int64_t>(), m), is_masked()));
    }
    check_update(*trainer, micro_batches, noise);
    if (trainer->updates() == 1) check_gradients(*trainer);
    check_validation(*trainer);
  }
  check_final(*trainer);
}

/// The whole tensors of ranks that each hold pieces of the experts.
TensorMap put_together(const std::vector<std::pair<TensorMap, TensorPieces>>& of_ranks) {
  auto whole = of_ranks.front().first;
  for (const auto& [name, piece] : of_ranks.front().second) whole[name] = torch::empty(piece.shape);
  for (const auto& [state, pieces] : of_ranks) {
    for (const auto& [name, piece] : pieces) {
      if (state.contains(name))
        whole[name].view({-1}).slice(0, piece.begin, piece.end).copy_(state.at(name).flatten());
    }
  }
  std::erase_if(whole,
                [&](const auto& entry) { return !of_ranks.front().first.contains(entry.first); });
  return whole;
}

TEST_P(TrainingGolden, IsReproducedByRanksThatShareBatchesAndExperts) {
  EVOMOE_NEEDS_RANKS();
  const auto batches = read_safetensors(run_.folder / "batches.safetensors");
  const auto noise_file = run_.folder / "noise.safetensors";
  const auto noise =
      std::filesystem::exists(noise_file) ? read_safetensors(noise_file) : TensorMap();
  const bool dense = run_.options.moe.moe_expert_count == 0;
  for (const auto& [ranks, expert_ranks] : {std::pair(2, 2), {4, 2}}) {
    SCOPED_TRACE(fmt::format("{} ranks, {} share the experts", ranks, expert_ranks));
    std::vector<UpdateResult> first;
    const auto states = testing::on_ranks(
        ranks, [&, share = dense ? 1 : expert_ranks](const std::shared_ptr<Communicator>& all) {
          const auto trainer = make_trainer(make_rank_groups(all, share));
          for (const auto& update : run_.updates) {
            std::vector<Batch> micro_batches;
            for (size_t m = 0; m < update.at("micro").size(); ++m) {
              micro_batches.push_back(testing::stored_batch(
                  batches, fmt::format("u{:04}.m{}", update.at("update").get<int64_t>(), m),
                  is_masked()));
            }
            auto result = train_update(*trainer, micro_batches, noise);
            if (all->rank() == 0) first.push_back(std::move(result));
          }
          return std::pair(trainer->model_state(), trainer->pieces());
        });
    for (size_t i = 0; i < first.size(); ++i) check_result(first[i], run_.updates.at(i));
    check_final(put_together(states));
  }
}

TEST_P(TrainingGolden, IsReproducedFromTheDataFolder) {
  if (text_is_absent()) GTEST_SKIP() << absent_text();
  auto trainer = make_trainer();
  const auto noise_file = run_.folder / "noise.safetensors";
  const auto noise =
      std::filesystem::exists(noise_file) ? read_safetensors(noise_file) : TensorMap();
  const auto data = open_task_data(run_.options.data, run_.options);
  EpochIterator iterator([&](int64_t epoch) { return data->train(epoch, "train"); },
                         iterator_options(run_.options, /*training=*/true));
  int64_t epoch = 0;
  while (trainer->updates() < static_cast<int64_t>(run_.updates.size())) {
    iterator.start_epoch(++epoch);
    while (trainer->updates() < static_cast<int64_t>(run_.updates.size())) {
      auto micro_batches = iterator.next_update();
      if (!micro_batches) break;
      // The reference trained this update with three masks of the epoch before
      // (docs/reference.md section 12.1.2).
      if (is_masked() && trainer->updates() + 1 == kUpdateWithStaleMasks)
        micro_batches = {{testing::stored_batch(
            read_safetensors(run_.folder / "batches.safetensors"),
            fmt::format("u{:04}.m0", kUpdateWithStaleMasks), /*masked=*/true)}};
      EXPECT_EQ(epoch, run_.updates.at(trainer->updates()).at("epoch").get<int64_t>());
      check_update(*trainer, *micro_batches, noise);
    }
  }
  check_final(*trainer);
}

void expect_equal(const TensorMap& ours, const TensorMap& theirs) {
  EXPECT_EQ(ours.size(), theirs.size());
  for (const auto& [name, tensor] : theirs) {
    ASSERT_TRUE(ours.contains(name)) << name;
    EXPECT_TRUE(torch::equal(ours.at(name), tensor)) << name;
  }
}

TEST_P(TrainingGolden, GoesOnFromTheReferencesCheckpointAndIsWrittenBack) {
  const auto folder = testing::golden_text_dir().parent_path() / "checkpoints" / run_.name;
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no checkpoint at " << folder;
  const auto theirs = read_fairseq_checkpoint(folder / "checkpoint_2_30.pt");
  const testing::TemporaryFolder made;
  const auto options = import_fairseq_run(theirs, run_.options.data, made / "run");
  EXPECT_EQ(options.optimization.lr, run_.options.optimization.lr);
  EXPECT_EQ(options.moe.moe_router, run_.options.moe.moe_router);
  EXPECT_EQ(options.criterion.criterion, run_.options.criterion.criterion);

  const auto ours = load_checkpoint(made / "run/checkpoint_last", /*with_optimizer=*/true);
  EXPECT_EQ(ours.state.data.epoch, 2);
  EXPECT_EQ(ours.state.data.offset, 9);
  const auto symbols = run_.flags.at("model").at("vocab").get<int64_t>();
  Trainer trainer(options, Vocabulary::of_one(symbols, Dictionary::kPad), torch::kCPU,
                  /*completed_updates=*/30, /*shared_expert=*/false);
  trainer.load_model_state(ours.model, "converted", "");
  trainer.load_optimizer_state(ours.optimizer);
  const auto batches = read_safetensors(run_.folder / "batches.safetensors");
  while (trainer.updates() < static_cast<int64_t>(run_.updates.size())) {
    const auto prefix = fmt::format("u{:04}.m0", trainer.updates() + 1);
    check_update(trainer, {testing::stored_batch(batches, prefix)}, {});
  }
  check_final(trainer);

  const auto files = export_fairseq_run(made / "run/checkpoint_last", made / "back.pt");
  EXPECT_EQ(files.size(), options.moe.moe_freq > 0 ? 2U : 1U);
  const auto back = read_fairseq_checkpoint(made / "back.pt");
  expect_equal(back.model, theirs.model);
  expect_equal(back.optimizer, theirs.optimizer);
  EXPECT_EQ(back.updates, 30);
  EXPECT_EQ(back.epoch, 2);
  EXPECT_EQ(back.iterations_in_epoch, 9);
  EXPECT_EQ(options_of_fairseq(back, run_.options.data).moe.moe_router, options.moe.moe_router);
}

/// A line without the values that depend on the machine's speed.
nlohmann::ordered_json without_speeds(const nlohmann::ordered_json& line) {
  nlohmann::ordered_json kept;
  for (const auto& [key, value] : line.items()) {
    bool speed = false;
    for (const auto* suffix : {"wps", "ups", "wall"}) speed = speed || key.ends_with(suffix);
    // num_updates ends in "updates", not in the speed "ups".
    kept[key] = speed ? nlohmann::ordered_json("*") : value;
  }
  return kept;
}

/// The same keys in the same order with the same values, of which theirs are texts; a number close
/// to a rounding tie may differ in its last digit.
void expect_same_line(const nlohmann::ordered_json& ours, const nlohmann::ordered_json& theirs) {
  ASSERT_EQ(ours.size(), theirs.size()) << ours << "\n" << theirs;
  auto theirs_item = theirs.items().begin();
  for (const auto& [key, value] : ours.items()) {
    ASSERT_EQ(key, theirs_item.key());
    if (value != theirs_item.value() &&
        (!value.is_number() || format_g(value.get<double>()) != theirs_item.value())) {
      ASSERT_TRUE(value.is_number()) << key << " " << value << " " << theirs_item.value();
      EXPECT_LE(relative(value.get<double>(), log_number(theirs, key).value()), 5e-5) << key;
    }
    ++theirs_item;
  }
}

TEST_P(TrainingGolden, TheWholeProgramWritesTheSameLogLines) {
  // Runs with recorded or zero noise need the noise of the recording; their log lines are those of
  // the same code.
  if (run_.flags.contains("dts"))
    GTEST_SKIP() << "needs the recorded noise, which a run from the command line cannot be given";
  if (is_masked())
    GTEST_SKIP() << "the reference trained one update with masks of the epoch before";
  if (text_is_absent()) GTEST_SKIP() << absent_text();
  const testing::TemporaryFolder folder;
  write_safetensors(
      folder / "init.safetensors",
      testing::to_our_names(read_safetensors(run_.folder / "init.safetensors"), run_));
  auto options = run_.options;
  options.checkpoint.no_save = false;
  options.checkpoint.no_epoch_checkpoints = true;
  options.checkpoint.save_dir = (folder / "run").string();
  options.checkpoint.init_from = (folder / "init.safetensors").string();
  options.common.log_format = "none";
  EXPECT_EQ(TrainingRun(options).run(), 0);
  std::vector<nlohmann::ordered_json> ours, theirs;
  for (auto line : read_run_log(folder / "run/log.jsonl")) {
    const auto tag = line.at("tag").get<std::string>();
    if (tag == "stage" || tag == "expert_similarity") continue;  // lines of ours alone
    const auto prefix = tag == "train_inner" ? std::string() : tag + "_";
    for (const auto* key : {"evolution", "active_experts", "routers", "flops_per_token",
                            "ms_per_update", "elapsed", "perplexity", "flops", "train_tokens"}) {
      line.erase(prefix + key);
    }
    ours.push_back({{"tag", tag}, {"line", without_speeds(line)}});
    ours.back()["line"].erase("tag");
    ours.back()["line"].erase("completed_updates");
  }
  std::istringstream lines(testing::read_text(run_.folder / "log.jsonl"));
  for (std::string text; std::getline(lines, text);) {
    const auto line = nlohmann::ordered_json::parse(text);
    if (line.at("line").value("valid_num_updates", "") == "0")
      continue;  // the recording validated before the first update
    theirs.push_back({{"tag", line.at("tag")}, {"line", without_speeds(line.at("line"))}});
  }
  ASSERT_EQ(ours.size(), theirs.size());
  for (size_t i = 0; i < ours.size(); ++i) {
    EXPECT_EQ(ours[i].at("tag"), theirs[i].at("tag"));
    expect_same_line(ours[i].at("line"), theirs[i].at("line"));
  }
}

std::vector<std::string> cases() {
  auto names = testing::golden_run_names();
  if (names.empty()) names.emplace_back("absent");
  return names;
}

INSTANTIATE_TEST_SUITE_P(Runs, TrainingGolden, ::testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace evomoe
