#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "evomoe/base/error.h"
#include "evomoe/fairseq/fairseq_checkpoint.h"
#include "evomoe/fairseq/torch_file.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class FairseqCheckpointGolden : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(folder())) GTEST_SKIP() << "no checkpoints in " << folder();
  }

  static fs::path folder() { return testing::golden_text_dir().parent_path() / "checkpoints"; }
};

TEST_F(FairseqCheckpointGolden, HasEveryParameterOfTheRunWithItsShapeAndAdamState) {
  for (const std::string name : {"gpt_dense", "gpt_switch"}) {
    const auto read = read_fairseq_checkpoint(folder() / name / "checkpoint_2_30.pt");
    EXPECT_EQ(read.updates, 30);
    EXPECT_EQ(read.epoch, 2);
    EXPECT_EQ(read.iterations_in_epoch, 9);
    EXPECT_TRUE(read.best.has_value());
    EXPECT_NE(read.cfg.find("optimization"), nullptr);
    const auto flags = testing::read_json(testing::golden_training_dir() / name / "flags.json");
    size_t plain = 0;
    for (const auto& parameter : flags.at("parameters")) {
      if (parameter.at(2).get<bool>()) continue;
      ++plain;
      const auto key = parameter.at(0).get<std::string>();
      const auto shape = parameter.at(1).get<std::vector<int64_t>>();
      ASSERT_TRUE(read.model.contains(key)) << key;
      EXPECT_EQ(read.model.at(key).sizes().vec(), shape) << key;
      EXPECT_EQ(read.optimizer.at(key + ".step").item<int64_t>(), 30) << key;
      EXPECT_EQ(read.optimizer.at(key + ".exp_avg").sizes().vec(), shape) << key;
      EXPECT_TRUE(read.optimizer.at(key + ".exp_avg_sq").ge(0).all().item<bool>()) << key;
    }
    // Two layers of four stacked tensors.
    EXPECT_EQ(read.model.size(), plain + (name == "gpt_switch" ? 8 : 0));
    EXPECT_EQ(read.optimizer.size(), 3 * read.model.size());
  }
}

TEST_F(FairseqCheckpointGolden, StacksTheExpertsOfTheRankFile) {
  const auto set = folder() / "gpt_switch";
  const auto read = read_fairseq_checkpoint(set / "checkpoint_2_30-rank-0.pt");
  const auto raw = read_torch_file(set / "checkpoint_2_30-rank-0.pt");
  const std::string layer = "decoder.layers.3.moe_layer.experts.";
  const auto& w2 = read.model.at(layer + "w2");
  EXPECT_EQ(w2.sizes().vec(), (std::vector<int64_t>{4, 32, 64}));
  const auto* expert = raw.find("model")->find(layer + "2.fc2.weight")->get_if<torch::Tensor>();
  EXPECT_TRUE(w2[2].equal(*expert));
  // Position 83 of flags.json: 73 is expert 0's fc1.weight of layer 3, four a expert.
  const auto* states = raw.find("last_optimizer_state")->find("state")->get_if<PickleValue::Dict>();
  bool found = false;
  for (size_t i = 0; i < states->keys.size(); ++i) {
    if (*states->keys[i].get_if<int64_t>() != 83) continue;
    found = true;
    EXPECT_TRUE(read.optimizer.at(layer + "w2.exp_avg")[2].equal(
        *states->values[i].find("exp_avg")->get_if<torch::Tensor>()));
  }
  EXPECT_TRUE(found);
}

TEST_F(FairseqCheckpointGolden, EachNameFindsTheSetAndAMissingRankIsNamed) {
  testing::TemporaryFolder copy;
  for (const std::string part : {"-shared.pt", "-rank-0.pt"})
    fs::copy_file(folder() / "gpt_switch" / ("checkpoint_2_30" + part), copy / ("x" + part));
  for (const std::string name : {"x", "x.pt", "x-shared.pt", "x-rank-0.pt"})
    EXPECT_EQ(read_fairseq_checkpoint(copy / name).updates, 30) << name;
  fs::remove(copy / "x-rank-0.pt");
  EXPECT_THAT([&] { read_fairseq_checkpoint(copy / "x"); },
              ThrowsMessage<Error>(HasSubstr("x-rank-0.pt: is missing")));
  EXPECT_THAT([&] { read_fairseq_checkpoint(copy / "x-rank-0-shard0.pt"); },
              ThrowsMessage<Error>(HasSubstr("x-shared-shard0.pt")));
  EXPECT_THAT([&] { read_fairseq_checkpoint(copy / "y.pt"); },
              ThrowsMessage<Error>(HasSubstr("there is neither this file")));
}

TEST_F(FairseqCheckpointGolden, AnyChangedOrCutByteOfTheFileGivesDataOrAnError) {
  const auto whole = testing::read_text(folder() / "gpt_dense" / "checkpoint_2_30.pt");
  testing::TemporaryFolder files;
  std::mt19937 random(1);
  int errors = 0;
  for (int trial = 0; trial < 300; ++trial) {
    auto changed = whole;
    // The container's directory is at the end, the pickle at the start.
    const size_t from = trial % 2 == 0 ? 0 : changed.size() - 12'000;
    for (int i = 0; i < 20; ++i) changed[from + random() % 12'000] = static_cast<char>(random());
    if (trial % 3 == 0) changed.resize(random() % changed.size());
    testing::write_text(files / "x.pt", changed);
    try {
      read_fairseq_checkpoint(files / "x.pt");
    } catch (const Error&) {
      ++errors;
    }
  }
  EXPECT_GT(errors, 200);
  testing::write_text(files / "old.pt", "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9");
  EXPECT_THAT([&] { read_fairseq_checkpoint(files / "old.pt"); },
              ThrowsMessage<Error>(HasSubstr("save it again with a recent PyTorch")));
}

}  // namespace
}  // namespace evomoe
