// fairseq's Hydra files and overrides.
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/config/describe.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

TrainOptions parsed(const std::vector<std::string>& arguments) {
  TrainOptions options;
  OptionTable table("train", "");
  describe(table, options);
  table.parse(arguments);
  return options;
}

std::string refusal(const std::vector<std::string>& arguments) {
  try {
    parsed(arguments);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "not refused";
}

void expect_refused(const std::vector<std::string>& arguments, const std::vector<std::string>& parts) {
  const auto said = refusal(arguments);
  for (const auto& part : parts) EXPECT_NE(said.find(part), std::string::npos) << said;
}

/// Fine-tuning on RTE as the authors' configuration has it.
const char* const kFineTuning = R"(# @package _group_
common:
  fp16_init_scale: 4
  threshold_loss_scale: 1
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

TEST(FairseqYaml, AFineTuningConfigurationIsReadWhole) {
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "rte.yaml", kFineTuning);
  for (const auto& how : std::vector<std::vector<std::string>>{
           {"--config", (folder / "rte.yaml").string()},
           {"--config-dir", folder.path().string(), "--config-name", "rte"}}) {
    auto arguments = how;
    for (const auto* more : {"task.data=RTE-bin", "checkpoint.restore_file=model.pt"})
      arguments.emplace_back(more);
    const auto options = parsed(arguments);
    EXPECT_EQ(options.data, "RTE-bin");
    EXPECT_EQ(options.task.task, "sentence_prediction");
    EXPECT_EQ(options.task.init_token, 0);
    EXPECT_EQ(options.task.num_classes, 2);
    EXPECT_EQ(options.model.arch, "roberta");
    EXPECT_EQ(options.model.max_positions, 512);
    EXPECT_EQ(options.criterion.criterion, "sentence_prediction");
    EXPECT_EQ(options.checkpoint.restore_file, "model.pt");
    EXPECT_EQ(options.optimization.adam_betas, (std::vector<double>{0.9, 0.98}));
    EXPECT_EQ(options.optimization.lr, std::vector<double>{2e-5});
    EXPECT_EQ(options.optimization.lr_scheduler, "polynomial_decay");
    EXPECT_EQ(options.optimization.warmup_updates, 122);
    EXPECT_EQ(options.common.log_interval, 200);
  }
}

TEST(FairseqYaml, ReferencesTakeTheValueOfTheFileOrOfTheCommandLine) {
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "a.yaml",
                      "optimization:\n  max_update: 500\nlr_scheduler:\n  _name: polynomial_decay\n"
                      "  total_num_update: ${optimization.max_update}\n");
  const auto file = (folder / "a.yaml").string();
  EXPECT_EQ(parsed({"d", "--config", file}).optimization.total_num_update, 500);
  EXPECT_EQ(parsed({"d", "--config", file, "--max-update", "70"}).optimization.total_num_update, 70);
  EXPECT_EQ(
      parsed({"d", "--config", file, "optimization.max_update=80"}).optimization.total_num_update,
      80);
  testing::write_text(folder / "b.yaml", "optimization:\n  max_update: ${optimization.max_epoch}\n"
                                         "  max_epoch: ${optimization.max_update}\n");
  expect_refused({"d", "--config", (folder / "b.yaml").string()}, {"circle", "max_epoch"});
  testing::write_text(folder / "c.yaml", "optimization:\n  max_update: ${no.such}\n");
  expect_refused({"d", "--config", (folder / "c.yaml").string()}, {"${no.such}"});
}

TEST(FairseqYaml, AGroupIsChosenByItsName) {
  const auto options = parsed({"d", "task=masked_lm", "model=roberta/large_moe",
                               "criterion=moe_masked_lm", "lr_scheduler=polynomial_decay",
                               "model.moe_freq=2", "optimization.use_gumbel_softmax=true",
                               "optimizer.adam_eps=1e-6", "model.moe_expert_count=4"});
  EXPECT_EQ(options.task.task, "masked_lm");
  EXPECT_EQ(options.model.arch, "roberta_large_moe");
  EXPECT_EQ(options.criterion.criterion, "moe_masked_lm");
  EXPECT_EQ(options.optimization.lr_scheduler, "polynomial_decay");
  EXPECT_EQ(options.optimization.adam_eps, 1e-6);
  EXPECT_EQ(options.moe.moe_freq, 2);
  EXPECT_TRUE(options.evolution.use_gumbel_softmax);
  EXPECT_EQ(parsed({"d", "model=transformer_lm/transformer_lm_gpt"}).model.arch,
            "transformer_lm_gpt");
}

TEST(FairseqYaml, UnknownKeysAreNamedWithTheNearest) {
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "a.yaml", "optimizer:\n  adam_beta: (0.9,0.98)\n");
  expect_refused({"d", "--config", (folder / "a.yaml").string()},
                 {"a.yaml:2", "adam_beta", "adam-betas"});
  expect_refused({"d", "--config-name", "a"}, {"--config-dir"});
}

TEST(FairseqCommandLine, FlagsMayHaveTheirValueBehindThem) {
  EXPECT_FALSE(parsed({"d", "--left-pad-source", "False"}).task.left_pad_source);
  EXPECT_TRUE(parsed({"d", "--left-pad-target", "True"}).task.left_pad_target);
  EXPECT_EQ(parsed({"d", "--left-pad-target", "--max-update", "3"}).optimization.max_update, 3);
  EXPECT_EQ(parsed({"--source-lang", "de", "-t", "en", "d"}).task.target_lang, "en");
}

}  // namespace
}  // namespace evomoe
