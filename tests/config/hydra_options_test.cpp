// fairseq's Hydra configurations are read as they stand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "evomoe/base/error.h"
#include "evomoe/config/describe.h"
#include "evomoe/config/migration.h"
#include "evomoe/config/validate_options.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class HydraOptions : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) /
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  TrainOptions parse(const std::string& yaml, std::vector<std::string> arguments = {"bin"}) {
    std::ofstream(folder_ / "x.yaml") << yaml;
    arguments.insert(arguments.end(), {"--config-dir", folder_.string(), "--config-name", "x"});
    TrainOptions options;
    OptionTable table("train", "");
    describe(table, options);
    table.parse(arguments);
    notices_ = table.notices();
    validate_options(options);
    return options;
  }
  std::string error_of(const std::string& yaml, std::vector<std::string> arguments = {"bin"}) {
    try {
      parse(yaml, std::move(arguments));
    } catch (const UsageError& error) {
      return error.what();
    }
    return "no error";
  }

  std::filesystem::path folder_;
  std::vector<std::string> notices_;
};

constexpr const char* kFinetune = R"(# @package _group_
common:
  fp16: true
  fp16_init_scale: 4
  threshold_loss_scale: 1
  fp16_scale_window: 128
  log_format: json
  log_interval: 200
task:
  _name: sentence_prediction
  data: ???
  init_token: 0
  separator_token: 2
  num_classes: 2
  max_positions: 512
checkpoint:
  restore_file: ???
  reset_optimizer: true
  reset_dataloader: true
  reset_meters: true
  best_checkpoint_metric: accuracy
  maximize_best_checkpoint_metric: true
  no_epoch_checkpoints: true
distributed_training:
  find_unused_parameters: true
  distributed_world_size: 1
criterion:
  _name: sentence_prediction
dataset:
  batch_size: 16
  required_batch_size_multiple: 1
  max_tokens: 4400
optimizer:
  _name: adam
  weight_decay: 0.1
  adam_betas: (0.9,0.98)
  adam_eps: 1e-06
lr_scheduler:
  _name: polynomial_decay
  warmup_updates: 122
  total_num_update: ${optimization.max_update}
optimization:
  clip_norm: 0.0
  lr: [2e-05]
  max_update: 2036
  max_epoch: 10
model:
  _name: roberta
  dropout: 0.1
  attention_dropout: 0.1
)";

TEST_F(HydraOptions, AFinetuningConfigurationIsReadWhole) {
  const auto options = parse(kFinetune);
  EXPECT_EQ(options.data, "bin");
  EXPECT_EQ(options.task.task, "sentence_prediction");
  EXPECT_EQ(options.task.init_token, 0);
  EXPECT_EQ(options.task.num_classes, 2);
  EXPECT_EQ(options.criterion.criterion, "sentence_prediction");
  EXPECT_EQ(options.optimization.adam_betas, (std::vector<double>{0.9, 0.98}));
  EXPECT_EQ(options.optimization.warmup_updates, 122);
  EXPECT_EQ(options.common.log_interval, 200);
  EXPECT_EQ(parse(kFinetune, {"task.data=RTE-bin"}).data, "RTE-bin");
  EXPECT_EQ(parse(kFinetune, {"bin", "checkpoint.restore_file=model.pt"}).checkpoint.restore_file,
            "model.pt");
  EXPECT_EQ(options.task.separator_token, 2);
  EXPECT_EQ(options.model.arch, "roberta");
  EXPECT_EQ(options.model.max_positions, 512);
  EXPECT_EQ(options.checkpoint.restore_file, "checkpoint_last") << "??? is not given";
  EXPECT_EQ(options.optimization.lr, std::vector<double>{2e-5});
  EXPECT_EQ(options.optimization.lr_scheduler, "polynomial_decay");
  EXPECT_EQ(options.optimization.total_num_update, 2036);
  EXPECT_THAT(notices_, ::testing::Contains(HasSubstr("--fp16")));
}

TEST_F(HydraOptions, AFileIsNamedByConfigOrByFolderAndName) {
  parse(kFinetune);
  TrainOptions options;
  OptionTable table("train", "");
  describe(table, options);
  table.parse({"bin", "--config", (folder_ / "x.yaml").string()});
  EXPECT_EQ(options.model.arch, "roberta");
  try {
    table.parse({"bin", "--config-name", "x"});
    FAIL() << "no error";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("--config-dir"));
  }
}

TEST_F(HydraOptions, AReferenceFollowsWhatTheCommandLineSays) {
  const auto by_override = parse(kFinetune, {"bin", "optimization.max_update=7"});
  EXPECT_EQ(by_override.optimization.total_num_update, 7);
  const auto by_file = parse(kFinetune);
  EXPECT_EQ(by_file.optimization.total_num_update, 2036);
  const auto by_flag = parse(kFinetune, {"bin", "--max-update", "8"});
  EXPECT_EQ(by_flag.optimization.total_num_update, 8);
}

TEST_F(HydraOptions, CirclesAndUnknownReferencesAreNamed) {
  EXPECT_THAT(error_of("optimization:\n  max_update: ${optimization.max_epoch}\n"
                       "  max_epoch: ${optimization.max_update}\n"),
              AllOf(HasSubstr("circle"), HasSubstr("optimization.max_epoch")));
  EXPECT_THAT(error_of("optimization:\n  max_update: ${model.no_such_thing}\n"),
              HasSubstr("model.no_such_thing"));
}

TEST_F(HydraOptions, AGroupIsChosenByNameOnTheCommandLineAndInDefaults) {
  const std::string defaults = "defaults:\n  - _self_\n  - task: masked_lm\n";
  const std::vector<std::string> line = {"bin", "model=roberta/base", "criterion=masked_lm",
                                         "--batch-size", "1"};
  const auto options = parse(defaults, line);
  EXPECT_EQ(options.task.task, "masked_lm");
  EXPECT_EQ(options.model.arch, "roberta_base");
}

TEST_F(HydraOptions, OverridesReachOptionsOfOurOwnGroups) {
  const auto options =
      parse("", {"bin", "--batch-size", "1", "task=masked_lm", "model=roberta/large_moe",
                 "criterion=moe_masked_lm", "lr_scheduler=polynomial_decay", "model.moe_freq=2",
                 "optimization.use_gumbel_softmax=true", "optimizer.adam_eps=1e-6",
                 "model.moe_expert_count=4"});
  EXPECT_EQ(options.task.task, "masked_lm");
  EXPECT_EQ(options.model.arch, "roberta_large_moe");
  EXPECT_EQ(options.criterion.criterion, "moe_masked_lm");
  EXPECT_EQ(options.optimization.lr_scheduler, "polynomial_decay");
  EXPECT_EQ(options.optimization.adam_eps, 1e-6);
  EXPECT_EQ(options.moe.moe_freq, 2);
  EXPECT_TRUE(options.evolution.use_gumbel_softmax);
  const auto other =
      parse("", {"bin", "--batch-size", "1", "model=transformer_lm/transformer_lm_gpt"});
  EXPECT_EQ(other.model.arch, "transformer_lm_gpt");
}

TEST_F(HydraOptions, AnUnknownKeyGetsTheNearestName) {
  EXPECT_THAT(error_of("optimization:\n  max_updat: 3\n"), HasSubstr("max-update"));
  EXPECT_THAT(error_of("optimizer:\n  adam_beta: (0.9,0.98)\n"),
              AllOf(HasSubstr("x.yaml:2"), HasSubstr("adam_beta"), HasSubstr("adam-betas")));
}

TEST_F(HydraOptions, AFlagOfAnotherTaskIsRefusedByName) {
  EXPECT_THAT(error_of("", {"bin", "--batch-size", "1", "--mask-prob", "0.3"}),
              HasSubstr("--mask-prob is an option of --task masked_lm"));
  EXPECT_EQ(error_of("", {"bin", "--batch-size", "1", "--mask-prob", "0.15"}), "no error");
  EXPECT_THAT(error_of("", {"bin", "--batch-size", "1", "--criterion", "masked_lm"}),
              HasSubstr("needs --task masked_lm"));
}

TEST_F(HydraOptions, PythonsBooleansFollowAFlag) {
  const auto options = parse("", {"bin", "--batch-size", "1", "--task", "translation", "-s", "en",
                                  "-t", "de", "--left-pad-source", "False"});
  EXPECT_FALSE(options.task.left_pad_source);
  EXPECT_EQ(options.task.target_lang, "de");
  const auto right = parse("", {"bin", "--batch-size", "1", "--task", "translation", "-s", "en",
                                "-t", "de", "--left-pad-target", "True"});
  EXPECT_TRUE(right.task.left_pad_target);
  const auto bare = parse("", {"bin", "--batch-size", "1", "--task", "translation", "-s", "en",
                               "-t", "de", "--left-pad-target", "--max-update", "3"});
  EXPECT_EQ(bare.optimization.max_update, 3);
  EXPECT_TRUE(bare.task.left_pad_target);
}

TEST(Migration, TheCommittedPageIsWhatTheProgramMakes) {
  const auto page = testing::read_text(testing::source_dir() / "docs" / "migration.md");
  EXPECT_TRUE(page == migration_markdown()) << "evomoe options --migration > docs/migration.md";
}

}  // namespace
}  // namespace evomoe
