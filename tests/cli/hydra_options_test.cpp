// fairseq's Hydra configurations are read as they stand.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "evomoe/base/error.h"
#include "evomoe/cli/command_tables.h"
#include "evomoe/legacy/migration.h"
#include "evomoe/train/validate_options.h"
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
    options.describe(table);
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

/// The keys of a configuration in examples/roberta/config/finetuning of the authors' fork, which
/// differ from task to task in these values and in what else `checkpoint` and `criterion` say.
struct Finetuning {
  const char* name;
  int classes, batch_size, warmup_updates, max_update;
  const char* lr;
  std::string checkpoint, criterion;
  int log_interval = 200;
  const char* find_unused_parameters = "true";
};

const std::string kByAccuracy =
    "  best_checkpoint_metric: accuracy\n  maximize_best_checkpoint_metric: true\n";

const std::vector<Finetuning>& finetunings() {
  static const std::vector<Finetuning> all = {
      {"rte", 2, 16, 122, 2036, "[1e-5]",
       kByAccuracy + "  no_last_checkpoints: False\n  no_save: true\n", "", 200, "false"},
      {"cola", 2, 16, 320, 5336, "[1e-05]", kByAccuracy + "  no_save: true\n", ""},
      {"mrpc", 2, 16, 137, 2296, "[1e-05]", kByAccuracy + "  no_save: true\n", ""},
      {"qnli", 2, 32, 1986, 33112, "[1e-05]", kByAccuracy + "  no_save: true\n", ""},
      {"qqp", 2, 32, 28318, 113272, "[1e-05]", kByAccuracy + "  no_save: true\n", ""},
      {"sst_2", 2, 32, 1256, 20935, "[1e-05]", kByAccuracy + "  no_save: true\n", "", 2000},
      {"mnli", 3, 32, 7432, 123873, "[1e-05]", kByAccuracy + "  no_save: false\n  save_dir: ???\n",
       "", 120000},
      {"sts_b", 1, 16, 214, 3598, "[2e-05]", "  save_dir: ???\n", "  regression_target: true\n"},
  };
  return all;
}

std::string finetuning_yaml(const Finetuning& task) {
  return fmt::format(
      "# @package _group_\n\ncommon:\n  fp16: false\n  fp16_init_scale: 4\n"
      "  threshold_loss_scale: 1\n  fp16_scale_window: 128\n  log_format: json\n"
      "  log_interval: {}\n"
      "task:\n  _name: sentence_prediction\n  data: ???\n  init_token: 0\n  separator_token: 2\n"
      "  num_classes: {}\n  max_positions: 512\n"
      "checkpoint:\n  restore_file: ???\n  reset_optimizer: true\n  reset_dataloader: true\n"
      "  reset_meters: true\n  no_epoch_checkpoints: true\n{}"
      "distributed_training:\n  find_unused_parameters: {}\n  distributed_world_size: 1\n"
      "criterion:\n  _name: sentence_prediction\n{}"
      "dataset:\n  batch_size: {}\n  required_batch_size_multiple: 1\n  max_tokens: 4400\n"
      "optimizer:\n  _name: adam\n  weight_decay: 0.1\n  adam_betas: (0.9,0.98)\n"
      "  adam_eps: 1e-06\n"
      "lr_scheduler:\n  _name: polynomial_decay\n  warmup_updates: {}\n"
      "optimization:\n  clip_norm: 0.0\n  lr: {}\n  max_update: {}\n  max_epoch: 10\n"
      "model:\n  _name: roberta_large\n  dropout: 0.1\n  attention_dropout: 0.1\n",
      task.log_interval, task.classes, task.checkpoint, task.find_unused_parameters, task.criterion,
      task.batch_size, task.warmup_updates, task.lr, task.max_update);
}

const std::string kFinetune = finetuning_yaml(finetunings().front());

/// What scripts/finetune_*.sh add: the files.
const std::vector<std::string> kFiles = {"task.data=RTE-bin", "checkpoint.restore_file=model.pt",
                                         "checkpoint.save_dir=run"};

TEST_F(HydraOptions, TheAuthorsFinetuningConfigurationsAreReadWhole) {
  for (const auto& task : finetunings()) {
    SCOPED_TRACE(task.name);
    const auto options = parse(finetuning_yaml(task), kFiles);
    EXPECT_EQ(options.task.num_classes, task.classes);
    EXPECT_EQ(options.criterion.regression_target, task.classes == 1);
    EXPECT_EQ(options.optimization.max_update, task.max_update);
    EXPECT_EQ(options.checkpoint.save_dir, "run");
  }
  const auto options = parse(kFinetune, kFiles);
  EXPECT_EQ(options.data, "RTE-bin");
  EXPECT_EQ(options.task.task, "sentence_prediction");
  EXPECT_EQ(options.task.init_token, 0);
  EXPECT_EQ(options.task.separator_token, 2);
  EXPECT_EQ(options.criterion.criterion, "sentence_prediction");
  EXPECT_EQ(options.model.arch, "roberta_large");
  EXPECT_EQ(options.model.max_positions, 512);
  EXPECT_EQ(options.common.log_interval, 200);
  EXPECT_EQ(options.checkpoint.restore_file, "model.pt");
  EXPECT_TRUE(options.checkpoint.no_save);
  EXPECT_EQ(options.optimizer.of<AdamOptions>().betas, (std::vector<double>{0.9, 0.98}));
  EXPECT_EQ(options.optimization.lr, std::vector<double>{1e-5});
  EXPECT_EQ(options.optimization.lr_scheduler, "polynomial_decay");
  EXPECT_EQ(options.optimization.warmup_updates, 122);
  EXPECT_THAT(notices_, ::testing::Contains(HasSubstr("--threshold-loss-scale")));
}

TEST_F(HydraOptions, ARegressionIsAskedForByTheTaskOrTheCriterion) {
  const std::string task = "task:\n  _name: sentence_prediction\n  num_classes: 1\n";
  const std::string criterion = "criterion:\n  _name: sentence_prediction\n";
  const std::string asked = "  regression_target: true\n";
  const std::vector<std::string> line = {"bin", "--arch", "roberta_base", "--batch-size", "1"};
  EXPECT_FALSE(parse(task + criterion, line).criterion.regression_target);
  EXPECT_TRUE(parse(task + asked + criterion, line).criterion.regression_target);
  EXPECT_TRUE(parse(task + criterion + asked, line).criterion.regression_target);
}

TEST_F(HydraOptions, WhatAConfigurationLeavesToTheCommandLineIsAskedFor) {
  const std::string restore = "checkpoint.restore_file=model.pt";
  EXPECT_THAT(error_of(kFinetune, {restore}),
              AllOf(HasSubstr("x.yaml:12: data: ???"), HasSubstr("task.data=VALUE")));
  EXPECT_THAT(error_of(kFinetune, {"bin"}), HasSubstr("checkpoint.restore_file=VALUE"));
  EXPECT_EQ(error_of(kFinetune, {"bin", "--restore-file", "model.pt"}), "no error");
  EXPECT_EQ(error_of(kFinetune, {"-m", "task.data=bin", restore}), "no error");
}

TEST_F(HydraOptions, TheAuthorsPretrainingConfigurationAsksForMorePositionsThanItsModelHas) {
  const std::string base =
      "# @package _group_\ncommon:\n  fp16: true\n  log_format: json\n  log_interval: 2000\n"
      "checkpoint:\n  no_epoch_checkpoints: true\n  save_interval: 15\n"
      "task:\n  _name: masked_lm\n  data: ???\n  sample_break_mode: complete\n"
      "  tokens_per_sample: 1024\n"
      "criterion: masked_lm\n"
      "distributed_training:\n  find_unused_parameters: true\n"
      "dataset:\n  batch_size: 8\n  ignore_unused_valid_subsets: true\n"
      "optimizer:\n  _name: adam\n  weight_decay: 0.01\n  adam_betas: (0.9,0.98)\n"
      "  adam_eps: 1e-06\n"
      "lr_scheduler:\n  _name: polynomial_decay\n  warmup_updates: 10000\n"
      "optimization:\n  clip_norm: 0\n  lr: [0.0005]\n  max_update: 125000\n"
      "  update_freq: [16]\n"
      "model:\n  _name: roberta\n  max_positions: 512\n  dropout: 0.1\n"
      "  attention_dropout: 0.1\n";
  const auto options = parse(base, {"task.data=bin"});  // check_settings() refuses it: 1024 > 512
  EXPECT_EQ(options.criterion.criterion, "masked_lm");
  EXPECT_EQ(options.task.tokens_per_sample, 1024);
  EXPECT_EQ(options.model.max_positions, 512);
  EXPECT_EQ(options.dataset.batch_size, 8);
}

TEST_F(HydraOptions, WhatAWholeConfigurationSaysOfFeaturesThatAreOffIsPassedOver) {
  const std::string yaml =
      "common:\n  profile: false\n  quantization_config_path: null\n  user_dir: null\n"
      "  tpu: false\n"
      "distributed_training:\n  distributed_rank: null\n  pipeline_model_parallel: false\n"
      "  pipeline_balance: null\n  pipeline_checkpoint: never\n  cpu_offload: False\n"
      "checkpoint:\n  optimizer_overrides: '{}'\n  s3_upload_path: null\n"
      "bmuf:\n  block_lr: 1\n  use_nbm: false\n"
      "tokenizer: null\n"
      "scoring: null\n";
  EXPECT_EQ(error_of(yaml, {"bin", "--batch-size", "1"}), "no error");
  const std::string ranks =
      "distributed_training:\n  distributed_world_size: 1\n  distributed_rank: 0\n"
      "  distributed_port: -1\n  distributed_num_procs: 1\n  distributed_init_method: null\n"
      "  ddp_backend: fully_sharded\n";
  EXPECT_EQ(error_of(ranks, {"bin", "--batch-size", "1"}), "no error");
  EXPECT_THAT(error_of("common:\n  user_dir: plugins\n", {"bin", "--batch-size", "1"}),
              HasSubstr("--user-dir plugins"));
}

TEST_F(HydraOptions, AFileIsNamedByConfigOrByFolderAndName) {
  parse(kFinetune, kFiles);
  TrainOptions options;
  OptionTable table("train", "");
  options.describe(table);
  table.parse({"bin", "--config", (folder_ / "x.yaml").string(), "--restore-file", "model.pt"});
  EXPECT_EQ(options.model.arch, "roberta_large");
  try {
    table.parse({"bin", "--config-name", "x"});
    FAIL() << "no error";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("--config-dir"));
  }
}

TEST_F(HydraOptions, AReferenceFollowsWhatTheCommandLineSays) {
  const std::string yaml =
      "optimization:\n  max_update: 2036\n"
      "lr_scheduler:\n  total_num_update: ${optimization.max_update}\n";
  const std::vector<std::string> line = {"bin", "--batch-size", "1"};
  EXPECT_EQ(parse(yaml, line).optimization.total_num_update, 2036);
  EXPECT_EQ(parse(yaml, {"bin", "--batch-size", "1", "optimization.max_update=7"})
                .optimization.total_num_update,
            7);
  EXPECT_EQ(
      parse(yaml, {"bin", "--batch-size", "1", "--max-update", "8"}).optimization.total_num_update,
      8);
}

TEST_F(HydraOptions, CirclesAndUnknownReferencesAreNamed) {
  EXPECT_THAT(error_of("optimization:\n  max_update: ${optimization.max_epoch}\n"
                       "  max_epoch: ${optimization.max_update}\n"),
              AllOf(HasSubstr("circle"), HasSubstr("optimization.max_epoch")));
  EXPECT_THAT(error_of("optimization:\n  max_update: ${model.no_such_thing}\n"),
              HasSubstr("model.no_such_thing"));
}

TEST_F(HydraOptions, ReferencesWithoutEndAreAnError) {
  // Ten references to the next, each: 10,000 texts of five lines.
  std::string multiplied = "best_checkpoint_metric: loss\n";
  std::string last = "best_checkpoint_metric";
  for (const std::string key : {"init_from", "finetune_from_model", "restore_file", "save_dir"}) {
    multiplied += key + ":";
    for (int i = 0; i < 10; ++i) multiplied += " ${" + last + "}";
    multiplied += "\n";
    last = key;
  }
  EXPECT_THAT(error_of(multiplied), HasSubstr("more than 1000 references"));
  EXPECT_THAT(error_of("restore_file: ${checkpoint.save_dir}\n",
                       {"bin", "checkpoint.save_dir=${checkpoint.save_dir}"}),
              HasSubstr("references"));
}

TEST_F(HydraOptions, AGroupIsChosenByNameOnTheCommandLineAndInDefaults) {
  const std::string defaults = "defaults:\n  - _self_\n  - task: masked_lm\n";
  const std::vector<std::string> line = {"bin", "model=roberta/base", "criterion=masked_lm",
                                         "--batch-size", "1"};
  const auto options = parse(defaults, line);
  EXPECT_EQ(options.task.task, "masked_lm");
  EXPECT_EQ(options.model.arch, "roberta_base");
}

TEST_F(HydraOptions, TheOrderOfTheEntriesMeansNothing) {
  const std::string head = "task: {_name: masked_lm}\ncriterion: {_name: masked_lm}\n";
  const std::string defaults = "defaults:\n  - model: roberta/base\n",
                    arch = "arch: roberta_large\n";
  const std::vector<std::string> line = {"bin", "--batch-size", "1"};
  EXPECT_EQ(parse(head + defaults + arch, line).model.arch, "roberta_large");
  EXPECT_EQ(parse(head + arch + defaults, line).model.arch, "roberta_large");
  const std::string one = "moe_top1_expert: true\n", other = "moe_router: dts\n";
  for (const auto& yaml : {one + other, other + one, one + "moe_topk_expert: true\n"}) {
    EXPECT_THAT(error_of(yaml),
                AllOf(HasSubstr("moe_top1_expert"), HasSubstr("contradict each other")));
  }
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
  EXPECT_EQ(options.optimizer.of<AdamOptions>().eps, 1e-6);
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
  EXPECT_TRUE(page == migration_markdown(command_tables()))
      << "evomoe options --migration > docs/migration.md";
}

}  // namespace
}  // namespace evomoe
