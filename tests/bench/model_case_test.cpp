#include "evomoe/bench/model_case.h"

#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/bench/step.h"

namespace evomoe::bench {
namespace {

/// Recorded from moe_loop of the PyTorch benchmarks (bench_step.py, float32, torch 2.13.0); warm-up
/// and timed steps count alike.
void expect_losses(const ModelCase& model, int64_t steps, double first, double last) {
  const auto [found_first, found_last] = first_and_last_loss(model, steps, /*batches=*/4);
  EXPECT_NEAR(found_first, first, 1e-5 * first) << model.label();
  EXPECT_NEAR(found_last, last, 1e-3 * last) << model.label();
}

TEST(ModelCase, TrainsToTheLossesOfThePyTorchBenchmarks) {
  const auto tiny = suite_cases(model_suites(), "tiny").front();
  EXPECT_EQ(tiny.label(), "L4-d128-h4-f512-E4-k1-every2-V512-T128-B8");
  expect_losses(tiny, 13, 9.147094, 6.533604);
}

TEST(ModelCase, TrainsToTheLossesOfThePyTorchBenchmarksWithLearnedPositionsAndTop2) {
  ModelFlags flags;
  flags.dim = 64;
  flags.ffn = 96;
  flags.experts = 8;
  flags.topk = "2";
  flags.vocab = 300;
  flags.seq = 48;
  flags.batch = 3;
  flags.positions = "learned";
  const auto model = model_case("tiny", flags);
  EXPECT_EQ(model.label(), "L4-d64-h4-f96-E8-k2-every2-V300-T48-B3");
  expect_losses(model, 10, 7.61413, 7.34814);
}

TEST(ModelCase, CountsAsThePyTorchBenchmarksDo) {
  const auto small = suite_cases(model_suites(), "small").front();
  EXPECT_EQ(small.active_matrix_parameters(), 8396800);
  EXPECT_NEAR(small.step_gflop(), 116.065, 5e-4);
  ModelFlags dense;
  dense.moe_freq = 0;
  EXPECT_EQ(model_case("small", dense).moe_layers(), 0);
}

TEST(ModelCase, ADenseModelAndAllExpertsTrainAsWell) {
  ModelFlags flags;
  flags.dim = 16;
  flags.ffn = 24;
  flags.vocab = 32;
  flags.seq = 8;
  flags.batch = 2;
  for (const auto moe_freq : {0, 1, 2}) {
    for (const auto* topk : {"1", "E"}) {
      flags.moe_freq = moe_freq;
      flags.topk = topk;
      const auto [first, last] = first_and_last_loss(model_case("tiny", flags), 2, 1);
      EXPECT_LT(last, first) << moe_freq << topk;
    }
  }
}

TEST(ModelCase, RefusesWhatCannotBe) {
  const auto refuses = [](const auto& set) {
    ModelFlags flags;
    set(flags);
    EXPECT_THROW(model_case("tiny", flags), UsageError);
  };
  refuses([](ModelFlags& f) { f.heads = 3; });
  refuses([](ModelFlags& f) { f.topk = "5"; });
  refuses([](ModelFlags& f) { f.topk = "0"; });
  refuses([](ModelFlags& f) { f.topk = "two"; });
  refuses([](ModelFlags& f) { f.moe_freq = 5; });
  EXPECT_THROW(model_case("smal", {}), UsageError);
}

}  // namespace
}  // namespace evomoe::bench
