#include "evomoe/train/validate_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <sstream>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// Options that are fine, with MoE layers.
TrainOptions sound() {
  TrainOptions options;
  options.data = "bin";
  options.dataset.batch_size = 8;
  options.moe.moe_freq = 2;
  options.moe.moe_expert_count = 4;
  options.moe.moe_router = "dts";
  return options;
}

struct Refusal {
  const char* name;
  std::function<void(TrainOptions&)> change;
  const char* flag;    ///< the message names it ...
  const char* remedy;  ///< ... and what to do, or the other value
};

class RefusedOptions : public ::testing::TestWithParam<Refusal> {};

TEST_P(RefusedOptions, NameTheFlagAndTheRemedy) {
  auto options = sound();
  EXPECT_NO_THROW(validate_options(options));
  GetParam().change(options);
  try {
    validate_options(options);
    FAIL() << "accepted";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr(GetParam().flag));
    EXPECT_THAT(error.what(), HasSubstr(GetParam().remedy));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Train, RefusedOptions,
    ::testing::Values(
        Refusal{"NoExpertCount", [](auto& o) { o.moe.moe_expert_count = 0; }, "--moe-freq 2",
                "--moe-expert-count 8"},
        Refusal{"NoFreq", [](auto& o) { o.moe.moe_freq = 0; }, "--moe-expert-count 4",
                "--moe-freq 2"},
        Refusal{"TopkNotE", [](auto& o) { o.moe.topk = 2; }, "--topk 2", "--moe-k 2"},
        Refusal{"TopkAboveE", [](auto& o) { o.moe.topk = 16; }, "--topk 16",
                "--moe-expert-count (4); leave it out"},
        Refusal{"FreqOfTheDecoder",
                [](auto& o) {
                  o.moe.moe_expert_count = o.moe.moe_freq = 0;
                  o.moe.decoder_moe_freq = 3;
                },
                "--decoder-moe-freq 3 without", "--moe-expert-count 8"},
        Refusal{"SharedOfDenseLayers",
                [](auto& o) {
                  o.evolution.shared_expert_updates = 5;
                  o.moe.alternate_decoder_ffn_embed_dim = 64;
                },
                "--alternate-decoder-ffn-embed-dim 64 makes them dense",
                "leave one of the two out"},
        Refusal{"SharedOfADenseEncoder",
                [](auto& o) {
                  o.task.task = o.criterion.criterion = "masked_lm";
                  o.evolution.shared_expert_updates = 5;
                  o.moe.alternate_ffn_embed_dim = 64;
                },
                "--alternate-ffn-embed-dim 64 makes them dense", "leave one of the two out"},
        Refusal{"SharedWithoutMoe",
                [](auto& o) {
                  o.evolution.shared_expert_updates = 5, o.moe.moe_freq = 0,
                  o.moe.moe_expert_count = 0;
                },
                "--shared-expert-updates 5", "--moe-freq"},
        Refusal{"MoeCriterionWithoutMoe",
                [](auto& o) {
                  o.criterion.criterion = "moe_cross_entropy", o.moe.moe_freq = 0,
                  o.moe.moe_expert_count = 0;
                },
                "moe_cross_entropy", "--criterion cross_entropy"},
        Refusal{"PseudoMoeCriterion",
                [](auto& o) {
                  o.criterion.criterion = "moe_cross_entropy",
                  o.moe.alternate_decoder_ffn_embed_dim = 64;
                },
                "--alternate-decoder-ffn-embed-dim 64", "cross_entropy"},
        Refusal{"RegressionOfTwo",
                [](auto& o) {
                  o.task.task = o.criterion.criterion = "sentence_prediction",
                  o.criterion.regression_target = true, o.task.num_classes = 2;
                },
                "--num-classes is 2", "--num-classes 1"},
        Refusal{"RegressionOfAnotherTask", [](auto& o) { o.criterion.regression_target = true; },
                "--regression-target", "sentence_prediction"},
        Refusal{"FinetuningWithoutPositions",
                [](auto& o) {
                  o.task.task = "supervised_finetuning", o.model.max_target_positions = 512;
                },
                "--tokens-per-sample 1024", "--max-target-positions 512"},
        Refusal{"PrefixOfAnswers",
                [](auto& o) {
                  o.task.task = "supervised_finetuning", o.criterion.ignore_prefix_size = 2,
                  o.criterion.criterion = "label_smoothed_cross_entropy";
                },
                "--ignore-prefix-size 2", "leave it out"},
        Refusal{"AverageOfPackedRows",
                [](auto& o) {
                  o.task.task = "supervised_finetuning", o.task.pack_examples = true,
                  o.criterion.sentence_avg = true;
                },
                "--sentence-avg with --pack-examples", "leave one of the two out"},
        Refusal{"CriterionOfAnotherTask",
                [](auto& o) {
                  o.task.task = "supervised_finetuning", o.criterion.criterion = "masked_lm";
                },
                "--criterion masked_lm does not go with --task supervised_finetuning",
                "it needs --task masked_lm"},
        Refusal{"CriterionOfNoMasks", [](auto& o) { o.task.task = "masked_lm"; },
                "--criterion cross_entropy does not go with --task masked_lm",
                "use masked_lm, moe_masked_lm or masked_lm_gumbel"},
        Refusal{"NoBatchSize", [](auto& o) { o.dataset.batch_size.reset(); }, "--max-tokens",
                "--batch-size 8"},
        Refusal{"TooLong", [](auto& o) { o.model.max_target_positions = 512; },
                "--tokens-per-sample 1024", "--max-target-positions 512"},
        Refusal{"BatchBelowSequence", [](auto& o) { o.dataset.max_tokens = 512; },
                "--max-tokens 512", "1024"},
        Refusal{"PadWithoutBatchSize",
                [](auto& o) {
                  o.task.pad_to_fixed_bsz = true, o.dataset.batch_size.reset(),
                  o.dataset.max_tokens = 4096;
                },
                "--pad-to-fixed-bsz", "--batch-size"},
        Refusal{
            "TwoOrigins",
            [](auto& o) { o.checkpoint.finetune_from_model = "a", o.checkpoint.init_from = "b"; },
            "--init-from", "use one"},
        Refusal{"FinetuneReset",
                [](auto& o) {
                  o.checkpoint.finetune_from_model = "a", o.checkpoint.reset_optimizer = true;
                },
                "--finetune-from-model", "leave the --reset-"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(ValidateOptions, WhatARoomKnowsBetterIsNotItsBusiness) {
  auto options = sound();
  options.moe.moe_router = "a method of another program";
  options.optimization.lr_scheduler = "polynomial_decay";
  options.evolution.max_temperature = 0;
  EXPECT_NO_THROW(validate_options(options));
}

TEST(ValidateOptions, AFlagOfAnotherTaskIsRefusedWithTheTasksThatHaveIt) {
  const auto refused = [](const std::string& task, const std::string& flag,
                          const std::string& tasks) {
    TrainOptions options;
    OptionTable table("train", "");
    options.describe(table);
    std::vector<std::string> arguments = {"bin", "--batch-size", "8", "--task", task};
    if (task == "masked_lm") arguments.insert(arguments.end(), {"--criterion", task});
    std::istringstream words(flag);
    for (std::string word; words >> word;) arguments.push_back(word);
    table.parse(arguments);
    const std::string name = flag.substr(0, flag.find(' '));
    EXPECT_THAT([&] { validate_options(options); },
                ThrowsMessage<UsageError>(HasSubstr(fmt::format(
                    "{} is an option of --task {}, and this is --task {}", name, tasks, task))));
  };
  const std::string encoder = "masked_lm or sentence_prediction or translation",
                    decoder = "language_modeling or supervised_finetuning or translation";
  refused("language_modeling", "--mask-prob 0.3", "masked_lm");
  refused("language_modeling", "--encoder-layers 2", encoder);
  refused("language_modeling", "--encoder-moe-freq 2", encoder);
  refused("language_modeling", "--max-positions 64", "masked_lm or sentence_prediction");
  refused("language_modeling", "--share-all-embeddings", "translation");
  refused("masked_lm", "--decoder-embed-dim 64", decoder);
  refused("masked_lm", "--max-target-positions 64", decoder);
  refused("masked_lm", "--num-classes 2", "sentence_prediction");
  refused("translation", "--tokens-per-sample 64",
          "language_modeling or masked_lm or supervised_finetuning");
  refused("translation", "--adaptive-softmax-cutoff 10,20",
          "language_modeling or supervised_finetuning");
  refused("language_modeling", "--truncate-prompt", "supervised_finetuning");
  refused("supervised_finetuning", "--sample-break-mode eos", "language_modeling or masked_lm");
}

TEST(ValidateOptions, AFlagOfALabelSmoothedCriterionNeedsOne) {
  auto options = sound();
  options.criterion.report_accuracy = true;
  EXPECT_THAT([&] { validate_options(options); },
              ThrowsMessage<UsageError>(HasSubstr("--report-accuracy")));
  options = sound();
  options.criterion.ignore_prefix_size = 1;
  EXPECT_THAT([&] { validate_options(options); },
              ThrowsMessage<UsageError>(HasSubstr("--ignore-prefix-size 1")));
}

}  // namespace
}  // namespace evomoe
