#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

/// `evomoe convert` of the checkpoints in tests/golden/fsdp, which have the fixture's vocabulary.
class Convert : public Commands {
 protected:
  void SetUp() override {
    if (!fs::exists(golden())) GTEST_SKIP() << "no checkpoints in " << golden();
    Commands::SetUp();
  }

  static fs::path golden() { return testing::golden_dir() / "fsdp"; }

  /// Converts a checkpoint and trains on from it.
  void go_on(const std::string& checkpoint, const std::string& run) {
    const auto made =
        evomoe(fmt::format("convert {0} --output {1}/{2} --data {1}/bin",
                           (golden() / checkpoint).string(), folder_.path().string(), run));
    ASSERT_EQ(made.exit_code, 0) << made.err;
    EXPECT_THAT(made.out + made.err, ::testing::HasSubstr("2 updates, epoch 1"));
    const auto trained =
        evomoe(fmt::format("train --config {}/{}/config.yaml --threads 1 "
                           // The same batches, whatever the number of processes.
                           "--update-freq 1 --reset-dataloader",
                           folder_.path().string(), run));
    ASSERT_EQ(trained.exit_code, 0) << trained.err;
  }
};

TEST_F(Convert, TrainingGoesOnFromShardsAsFromTheSameRunInOneProcess) {
  for (const std::string name : {"dense_w2", "moe_w2_e4", "moe_w4_e2"}) {
    go_on(name + "/whole/x", name);
    for (const std::string kind : {"default", "sharded"}) {
      const auto run = name + "_" + kind;
      go_on(name + "/" + kind + "/x", run);
      EXPECT_TRUE(model_file(run) == model_file(name)) << run;
      EXPECT_TRUE(optimizer_file(run) == optimizer_file(name)) << run;
    }
  }
}

TEST_F(Convert, SeveralProcessesBecomeOneWithTheirPlaceInTheDataAndTheirSizeOfUpdates) {
  const auto made =
      evomoe(fmt::format("convert {}/dense_w2/default/x --output {}/run --data {}/bin",
                         golden().string(), folder_.path().string(), folder_.path().string()));
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(testing::read_text(folder_ / "run/config.yaml"),
              ::testing::HasSubstr("update_freq: [2]"));
  const auto manifest =
      nlohmann::json::parse(testing::read_text(folder_ / "run/checkpoint_last/manifest.json"));
  EXPECT_EQ(manifest.at("sections").at("data").at("offset"), 4) << "2 batches each";
}

}  // namespace
}  // namespace evomoe
