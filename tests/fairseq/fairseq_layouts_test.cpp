// Checkpoints as torch writes them, in each layout of fairseq: make_fairseq_layouts.py makes them
// and tells what they hold.
#include <fmt/format.h>

#include <algorithm>

#include "tests/fairseq/fairseq_set_fixture.h"

namespace evomoe::fairseq_sets {
namespace {

/// The tensors of a plain dict.
TensorMap tensors_of(const PickleValue& value) {
  TensorMap tensors;
  const auto& entries = *value.get_if<Dict>();
  for (size_t i = 0; i < entries.keys.size(); ++i)
    tensors[*entries.keys[i].get_if<std::string>()] = *entries.values[i].get_if<torch::Tensor>();
  return tensors;
}

class FairseqLayouts : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const auto python = testing::python().string();
    if (testing::run_command(python + " -c 'import torch'").exit_code != 0) return;
    folder_ = new testing::TemporaryFolder;
    const auto script = testing::source_dir() / "tests/fairseq/make_fairseq_layouts.py";
    const auto made = testing::run_command(
        fmt::format("{} {} {}", python, script.string(), folder_->path().string()));
    if (made.exit_code != 0) ADD_FAILURE() << made.err;
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }

  void SetUp() override {
    if (folder_ == nullptr) {
      GTEST_SKIP() << "no torch in " << testing::python()
                   << "; EVOMOE_PYTHON names a Python that has it";
    }
  }

  static fs::path kind(const std::string& name) { return *folder_ / name; }

  /// Reads all checkpoints of a kind and compares them with what was put into them.
  static void expect_read(const std::string& name, size_t at_least) {
    std::vector<fs::path> cases;
    for (const auto& entry : fs::directory_iterator(kind(name))) cases.push_back(entry.path());
    std::sort(cases.begin(), cases.end());
    EXPECT_GE(cases.size(), at_least);
    for (const auto& each : cases) {
      SCOPED_TRACE(each.filename().string());
      const auto expected = read_torch_file(each / "expected.pt");
      try {
        const auto read = read_fairseq_checkpoint(each / "x");
        expect_equal(read.model, tensors_of(*expected.find("model")));
        expect_equal(read.optimizer, tensors_of(*expected.find("optimizer")));
        EXPECT_EQ(read.updates, *expected.find("updates")->get_if<int64_t>());
        EXPECT_EQ(read.epoch, 2);
        EXPECT_EQ(read.iterations_in_epoch, 3);
        EXPECT_EQ(read.seconds, 5.0);
      } catch (const Error& error) {
        ADD_FAILURE() << error.what();
      }
    }
  }

 private:
  static inline testing::TemporaryFolder* folder_ = nullptr;
};

TEST_F(FairseqLayouts, OfTheOptimizerAreReadWithWeightsMomentsAndCounters) {
  expect_read("layouts", 20);
}

TEST_F(FairseqLayouts, TheOrderOfTheEntriesMeansNothing) { expect_read("orders", 100); }

TEST_F(FairseqLayouts, AnExpandedTensorIsRead) { expect_read("expanded", 1); }

TEST_F(FairseqLayouts, MetricsOfNumpyAreSkipped) { expect_read("numpy", 1); }

TEST_F(FairseqLayouts, MomentsOfExpertsThatNoFileHoldsAreAnError) {
  EXPECT_THAT([&] { read_fairseq_checkpoint(kind("lost") / "experts_of_2_flat/x"); },
              ThrowsMessage<Error>(AllOf(HasSubstr("x-rank-1.pt: of its experts"),
                                         HasSubstr("--fp16-no-flatten-grads"),
                                         HasSubstr("--reset-optimizer"))));
  EXPECT_EQ(read_fairseq_checkpoint(kind("lost") / "experts_of_2_flat/x", false).updates, 7);
}

}  // namespace
}  // namespace evomoe::fairseq_sets
