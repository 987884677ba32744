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

class ConvertHub : public Commands {
 protected:
  std::string in_folder(const std::string& name) const { return (folder_ / name).string(); }
  void train(const std::string& run, const std::string& more) {
    const auto result = evomoe(fmt::format(
        "train {} --save-dir {} --decoder-layers 2 --decoder-embed-dim 16 --decoder-ffn-embed-dim "
        "32 --tokens-per-sample 16 --batch-size 4 --lr 0.003 --max-update 3 --log-format none "
        "--threads 1 {}",
        in_folder("bin"), in_folder(run), more));
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
};

TEST_F(ConvertHub, AModelOfOursComesBackFromTransformersFilesAndTrainsOn) {
  for (const std::string arch : {"llama_tiny", "mixtral_tiny", "olmoe_tiny", "qwen3_moe_tiny"}) {
    SCOPED_TRACE(arch);
    const auto hub = arch + "-hf", back = arch + "-back";
    train(arch, "--arch " + arch);
    const auto written = evomoe(fmt::format("convert {}/checkpoint_last --to hf --output {}",
                                            in_folder(arch), in_folder(hub)));
    ASSERT_EQ(written.exit_code, 0) << written.err;
    EXPECT_THAT(testing::read_text(folder_ / (hub + "/config.json")),
                ::testing::HasSubstr(arch.substr(0, arch.rfind('_'))));
    const auto read = evomoe(fmt::format("convert {} --from hf --data {} --output {}",
                                         in_folder(hub), in_folder("bin"), in_folder(back)));
    ASSERT_EQ(read.exit_code, 0) << read.err;
    EXPECT_TRUE(model_file(back) == model_file(arch));
    const auto on = evomoe(
        fmt::format("train --config {0}/config.yaml --finetune-from-model {0}/checkpoint_last "
                    "--save-dir {0}-on --tokens-per-sample 16 --batch-size 4 --lr 0.001 "
                    "--max-update 2 --log-format none --threads 1",
                    in_folder(back)));
    EXPECT_EQ(on.exit_code, 0) << on.err;
    expect_refused(fmt::format("convert {} --from hf --output {}", in_folder(hub), in_folder(back)),
                   {"holds a run already"}, 1);
  }
}

TEST_F(ConvertHub, WhatTransformersDoesNotHaveAndFlagsOfOtherDirectionsAreRefused) {
  train("gpt", "--arch transformer_lm_gpt2_tiny");
  train("hash",
        "--arch transformer_lm_gpt2_tiny --moe-freq 2 --moe-expert-count 4 --moe-router hash "
        "--criterion moe_cross_entropy");
  const auto gpt = in_folder("gpt/checkpoint_last"), output = in_folder("out");
  expect_refused(
      fmt::format("convert {} --to hf --output {}", in_folder("hash/checkpoint_last"), output),
      {"no architecture of transformers is the same model", "llama:", "--decoder-norm rms_norm",
       "qwen3_moe:"});
  expect_refused(fmt::format("convert {} --to hf --hf-architecture olmoe --output {}", gpt, output),
                 {"no model of --hf-architecture olmoe", "it has experts"});
  expect_refused(fmt::format("convert {} --to hf --hf-architecture gpt5 --output {}", gpt, output),
                 {"gpt5", "llama, mistral"});
  expect_refused(fmt::format("convert {} --from hf --to hf --output {}", gpt, output),
                 {"--from hf with --to hf"});
  expect_refused(fmt::format("convert {} --to fairseq --dtype float16 --output {}", gpt, output),
                 {"--dtype float16 belongs to --to hf"});
  expect_refused(fmt::format("convert {} --from hf --output {}", in_folder("bin"), output),
                 {"config.json: is not there"}, 1);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
}

}  // namespace
}  // namespace evomoe
