#include "evomoe/train/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/config/option_table.h"
#include "evomoe/loading/resume.h"
#include "evomoe/loading/stored_state.h"
#include "evomoe/routing/dts_router.h"
#include "evomoe/routing/registry.h"
#include "evomoe/run/training_run.h"
#include "evomoe/train/criterion.h"
#include "evomoe/train/model_family.h"
#include "evomoe/train/validate_options.h"
#include "tests/routing/word_router.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TrainOptions parsed(const std::string& flags) {
  std::vector<std::string> arguments = {"data", "--batch-size",
                                        "2",    "--tokens-per-sample",
                                        "16",   "--decoder-layers",
                                        "2",    "--decoder-embed-dim",
                                        "16",   "--decoder-ffn-embed-dim",
                                        "32",   "--decoder-attention-heads",
                                        "2"};
  std::istringstream words(flags);
  for (std::string word; words >> word;) arguments.push_back(word);
  TrainOptions options;
  OptionTable table("train", "");
  options.describe(table);
  table.parse(arguments);
  return options;
}

const std::string kWithExperts = "--moe-freq 2 --moe-expert-count 4 ";

void expect_refused(const std::string& flags, const std::vector<std::string>& parts) {
  SCOPED_TRACE(flags);
  const auto options = parsed(flags);
  EXPECT_NO_THROW(validate_options(options));
  for (const auto& part : parts) {
    EXPECT_THAT([&] { check_settings(options); }, ThrowsMessage<UsageError>(HasSubstr(part)));
  }
}

/// What a user is told about flags that are accepted: the lines of the log, without their time.
std::string notices(const std::string& flags) {
  SCOPED_TRACE(flags);
  ::testing::internal::CaptureStderr();
  const auto options = parsed(flags);
  EXPECT_NO_THROW(validate_options(options));
  EXPECT_NO_THROW(check_settings(options));
  std::istringstream lines(::testing::internal::GetCapturedStderr());
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    const auto message = line.find(" | ", line.find(" | ") + 1) + 3;
    text += line.substr(message) + "\n";
  }
  return text;
}

TEST(Settings, TheTaskThatAnArchitectureMeansIsOneThatItIsFor) {
  for (const auto& arch : architecture_names()) {
    TrainOptions options;
    options.model.arch = arch;
    options.task.task = find_family(find_architecture(arch).family).declaration().task;
    options.task.tokens_per_sample = 512;
    EXPECT_NO_THROW(check_model(options)) << arch;
  }
}

TEST(CheckRouter, UnknownMethodsAreRefusedWithTheNearestName) {
  expect_refused(kWithExperts + "--moe-router swich",
                 {"--moe-router swich", "did you mean switch"});
}

TEST(CheckRouter, OurOwnFlagsThatTheMethodDoesNotUseAreRefusedOneByOne) {
  expect_refused(kWithExperts + "--moe-top1-expert --moe-k 3",
                 {"--moe-k 3", "--moe-router switch", "leave it out"});
  expect_refused(kWithExperts + "--moe-router dense --moe-drop-policy probs",
                 {"--moe-drop-policy probs", "--moe-router dense"});
  expect_refused(kWithExperts + "--moe-top1-expert --moe-no-normalize-topk",
                 {"--moe-no-normalize-topk"});
  expect_refused(kWithExperts + "--moe-top1-expert --dts-normalize-weights",
                 {"--dts-normalize-weights"});
  expect_refused(kWithExperts + "--moe-top1-expert --dts-threshold .5", {"--dts-threshold 0.5"});
  expect_refused(kWithExperts + "--moe-router topk --moe-k 5", {"--moe-k 5", "--moe-expert-count"});
  expect_refused("--moe-freq 2 --moe-router gshard --moe-expert-count 1",
                 {"--moe-expert-count 1", "at least 2"});
}

TEST(CheckRouter, TheReferencesCommandLinesAreAccepted) {
  // With a notice of what has no effect, as in the reference.
  const std::vector<std::pair<std::string, std::string>> command_lines = {
      {"--moe-top1-expert --moe-gating-use-fp32 --moe-normalize-expert-grad world_size "
       "--moe-eval-capacity-token-fraction -1.0 --criterion moe_cross_entropy",
       ""},
      {"--moe-top1-expert --use-gumbel-softmax --use-gumbel-gates", ""},
      {"--moe-second-expert-policy all --moe-gating-use-fp32 --moe-batch-prioritized-routing", ""},
      {"--moe-topk-expert --topk 4 --use-gumbel-softmax --max-temperature 2.0 "
       "--gumbel-decay-scheduler Linear --moe-gating-use-fp32 --moe-eval-capacity-token-fraction "
       "-1.0",
       ""},
      // The authors' recipe for WMT: plain Switch.
      {"--criterion moe_cross_entropy --moe-gate-loss-wt 0 --moe-gate-loss-combine-method sum "
       "--moe-top1-expert --moe-gating-use-fp32 --moe-normalize-expert-grad world_size "
       "--moe-eval-capacity-token-fraction -1.0 --use-gumbel-softmax --max-temperature 2.0 "
       "--min-temperature 0.5 --gumbel-decay-scheduler Linear --gumbel-decay-factor 5000 "
       "--switch-to-hard-gumbel-softmax 6000",
       "--use-gumbel-softmax without --use-gumbel-gates has no effect with --moe-router switch "
       "(docs/routing.md)\n"},
      {"--moe-topk-expert --use-gumbel-softmax --moe-train-capacity-token-fraction 2.0",
       "--moe-train-capacity-token-fraction 2 has no effect with --moe-router dts "
       "(docs/routing.md)\n"},
      {"--moe-train-capacity-token-fraction 2.0",
       "--moe-train-capacity-token-fraction 2 has no effect with --moe-router gshard "
       "(docs/routing.md)\n"},
      {"--moe-top1-expert --moe-second-expert-policy all",
       "--moe-second-expert-policy all has no effect with --moe-router switch "
       "(docs/routing.md)\n"},
      {"--moe-topk-expert --use-gumbel-gates",
       "--use-gumbel-gates without --use-gumbel-softmax has no effect with --moe-router dts "
       "(docs/routing.md)\n"},
      {"--use-gumbel-softmax --use-gumbel-gates --moe-train-capacity-token-fraction 2",
       "--moe-train-capacity-token-fraction 2, --use-gumbel-softmax, --use-gumbel-gates have no "
       "effect with --moe-router gshard (docs/routing.md)\n"}};
  for (const auto& [flags, expected] : command_lines) {
    EXPECT_EQ(notices(kWithExperts + flags), expected) << flags;
  }
}

TEST(CheckRouter, ADenseModelNamesTheExpertsFlagsThatItDoesNotNeed) {
  EXPECT_EQ(notices("--dropout 0.2 --validate-routing stage"), "");
  EXPECT_EQ(notices("--moe-top1-expert"),
            "this is a dense model: --moe-top1-expert has no effect without --moe-freq and "
            "--moe-expert-count\n");
  EXPECT_EQ(notices("--moe-gate-loss-wt 0.01 --moe-topk-expert --use-gumbel-softmax "
                    "--max-temperature 2 --moe-train-capacity-token-fraction 2.0"),
            "this is a dense model: --moe-topk-expert, --moe-train-capacity-token-fraction 2, "
            "--use-gumbel-softmax, --max-temperature 2, --moe-gate-loss-wt 0.01 have no effect "
            "without --moe-freq and --moe-expert-count\n");
  EXPECT_EQ(notices("--moe-router swich"),
            "this is a dense model: --moe-router swich has no effect without --moe-freq and "
            "--moe-expert-count\n");
}

TEST(CheckRouter, ASharedStageIsFollowedByDroplessMethodsOnly) {
  const std::string shared = "--shared-expert-updates 5 ";
  for (const std::string method : {"switch", "gshard", "topk"}) {
    expect_refused(kWithExperts + shared + "--moe-router " + method,
                   {"--shared-expert-updates 5", "--moe-router " + method,
                    "--moe-train-capacity-token-fraction 0"});
    EXPECT_NO_THROW(check_router(parsed(
        kWithExperts + shared + "--moe-train-capacity-token-fraction 0 --moe-router " + method)));
  }
  for (const std::string method : {"dts", "dense"}) {
    EXPECT_NO_THROW(check_router(parsed(kWithExperts + shared + "--moe-router " + method)));
  }
}

TEST(CheckSettings, CombinationsThatCannotBeAreRefusedWithFlagAndRemedy) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> refused = {
      {"--decoder-attention-heads 3", {"--decoder-attention-heads 3", "--decoder-embed-dim 16"}},
      {"--dropout 1", {"--dropout 1", "below 1"}},
      {"--moe-freq 3 --moe-expert-count 4", {"--moe-freq 3", "2 layers (--decoder-layers)"}},
      {"--lr-scheduler inverse_sqrt --warmup-updates 0", {"--warmup-updates of at least 1"}},
      {"--lr-scheduler inverse_sqrt --lr 1,2", {"--lr has 2 values", "inverse_sqrt"}},
      {"--lr-scheduler polynomial_decay", {"polynomial_decay", "--total-num-update"}},
      {"--lr-scheduler polynomial_decay --max-update 10 --force-anneal 3",
       {"--force-anneal 3", "leave it out"}},
      {"--lr-scheduler polynomial_decay --max-update 10 --warmup-updates 11",
       {"--warmup-updates 11", "--max-update 10"}},
      {"--lr-scheduler cosine", {"cosine", "--lr-period-updates"}},
      {"--lr-scheduler cosine --max-update 10 --lr 0.1 --min-lr 0.1", {"--min-lr 0.1", "--lr 0.1"}},

      {"--max-temperature 0", {"--max-temperature 0", "--min-temperature 0.5"}},
      {"--min-temperature -1", {"--min-temperature -1", "greater than 0"}},
      {"--min-temperature 1.5", {"--min-temperature 1.5", "--max-temperature 1"}},
      {"--switch-to-hard-gumbel-softmax -2", {"--switch-to-hard-gumbel-softmax -2", "-1"}},
      {"--sparse-stage-noise 1.5", {"--sparse-stage-noise 1.5", "between 0 and 1"}},
      {"--diversify-ratio 1", {"--diversify-ratio 1", "below 1"}},
      {"--diversify drop-upcycling --diversify-ratio 1.1", {"--diversify-ratio 1.1", "and 1"}},
      {"--diversify noise --diversify-rescale", {"--diversify-rescale", "mask"}},
      {kWithExperts + "--moe-router swich", {"--moe-router swich"}},
  };
  for (const auto& [flags, parts] : refused) expect_refused(flags, parts);
}

TEST(CheckSettings, ARunDoesSoBeforeItLooksForItsData) {
  auto options = parsed("--lr-scheduler polynomial_decay --max-update 10 --force-anneal 3");
  options.data = "no such folder";
  EXPECT_THAT([&] { TrainingRun run(options); },
              ThrowsMessage<UsageError>(HasSubstr("--force-anneal 3")));
}

/// Once for all tests of this program.
void register_hash() {
  if (!method_uses("word", typeid(WordOptions)))
    register_router("word", router_method<WordRouter, CapacityOptions, WordOptions>());
}

TEST(Settings, AMethodOfAnotherProgramIsTrainedByItsName) {
  register_hash();
  const auto options =
      parsed(kWithExperts + "--moe-router word --criterion moe_cross_entropy --dropout 0");
  EXPECT_NO_THROW(validate_options(options));
  EXPECT_NO_THROW(check_router(options));
  expect_refused(kWithExperts + "--moe-router wrod", {"did you mean word"});
  expect_refused(kWithExperts + "--moe-router word --moe-k 3", {"--moe-k 3", "--moe-router word"});

  Gpt model(gpt_options(options, /*vocab_size=*/20, /*padding_index=*/1, /*shared_expert=*/false));
  model->initialise(1);
  torch::manual_seed(2);
  DeviceBatch batch;
  batch.input.source_BS = torch::randint(3, 20, {2, 16}, torch::kInt64);
  batch.target = torch::randint(3, 20, {2, 16}, torch::kInt64);
  batch.tokens = 32;
  const Criterion criterion(options.criterion, 1);
  std::vector<torch::Tensor> parameters = model->parameters();
  double first = 0, last = 0;
  for (int step = 0; step < 30; ++step) {
    ForwardContext context;
    context.training = true;
    const auto output = model->forward(batch.input, context);
    const auto result = criterion(*model, output, batch, context);
    last = result.sums.loss;
    if (step == 0) {
      first = last;
      ASSERT_EQ(output.stats.size(), 1U);
      const auto expected = torch::bincount(batch.input.source_BS.flatten() % 4, {}, 4);
      EXPECT_TRUE(torch::equal(output.stats[0].second.load_E, expected));
    }
    model->zero_grad();
    result.loss.backward();
    const torch::NoGradGuard no_grad;
    for (auto& parameter : parameters) {
      if (parameter.grad().defined()) parameter.sub_(0.02 * parameter.grad());
    }
  }
  EXPECT_LT(last, 0.7 * first);
}

TEST(Settings, AMethodThatSeesTheFutureIsForModelsThatAreNotCausal) {
  const std::string choice = "--moe-router expert-choice ";
  const auto refused = [](const std::string& flags, const std::string& task) {
    EXPECT_THAT([&] { check_router(parsed(flags)); },
                ThrowsMessage<UsageError>(AllOf(
                    HasSubstr("--moe-router expert-choice with --task " + task),
                    HasSubstr("those behind a token included, which a causal model must not see"),
                    HasSubstr("masked_lm"))));
  };
  refused(kWithExperts + choice, "language_modeling");
  refused(kWithExperts + choice + "--task supervised_finetuning", "supervised_finetuning");
  const std::string translation =
      "--task translation --arch transformer --moe-expert-count 4 " + choice;
  refused(translation + "--moe-freq 2", "translation");
  refused(translation + "--decoder-moe-freq 2", "translation");
  EXPECT_NO_THROW(check_router(parsed(translation + "--encoder-moe-freq 2")));
  EXPECT_NO_THROW(check_router(
      parsed("--task masked_lm --arch roberta_base --moe-freq 2 --moe-expert-count 4 " + choice)));
}

TEST(Settings, TheOptionsOfAMethodOfAnotherProgramAreInHelpFilesCheckpointsAndResume) {
  register_hash();
  const auto flags = kWithExperts + "--moe-router word --word-offset 3 --word-temperature 0.5";
  auto options = parsed(flags);
  EXPECT_EQ(options.routers.get<WordOptions>().offset, 3);
  EXPECT_EQ(notices(flags), "");
  OptionTable table("train", "");
  options.describe(table);
  EXPECT_THAT(table.help_text(), HasSubstr("word: added to a word's number."));
  EXPECT_THAT(table.markdown(), HasSubstr("`--word-offset`"));

  const testing::TemporaryFolder folder;
  testing::write_text(folder / "config.yaml", table.to_yaml());
  TrainOptions again;
  OptionTable from_file("train", "");
  again.describe(from_file);
  from_file.parse({"--config", (folder / "config.yaml").string()});
  EXPECT_EQ(again.routers.get<WordOptions>().temperature, 0.5);
  // Every value is in the file, but only those of this method count as given.
  EXPECT_NO_THROW(check_settings(again));

  RunState state;
  state.config = table.to_json();
  EXPECT_EQ(stored_options(state).routers.get<WordOptions>().offset, 3);
  EXPECT_EQ(model_differences(state, options), "");
  options.routers.get<WordOptions>().offset = 4;
  EXPECT_EQ(model_differences(state, options), "--word-offset 3 -> 4");

  expect_refused(kWithExperts + "--moe-top1-expert --word-offset 3",
                 {"--word-offset 3", "--moe-router switch", "leave it out"});
  EXPECT_THAT([&] { parsed(kWithExperts + "--word-temperature 0"); },
              ThrowsMessage<UsageError>(HasSubstr("a number above 0")));
}

TEST(Settings, WhatIsGivenOverridesTheArchitecture) {
  auto options = parsed(
      "--arch transformer_lm_gpt3_small --dropout 0.2 --moe-freq 1 "
      "--moe-expert-count 4 --moe-topk-expert --dts-threshold 0.01");
  const auto gpt = gpt_options(options, 100, 1, /*shared_expert=*/true);
  EXPECT_EQ(gpt.layers, 2);
  EXPECT_EQ(gpt.embed_dim, 16);
  EXPECT_EQ(gpt.activation, "gelu");
  EXPECT_EQ(gpt.dropout, 0.2);
  EXPECT_EQ(gpt.positions, PositionKind::kLearned);
  EXPECT_TRUE(gpt.tie_embeddings);
  EXPECT_TRUE(gpt.moe.shared_expert);
  EXPECT_EQ(gpt.max_positions, 16);
  EXPECT_EQ(gpt.moe.router.method, "dts");
  EXPECT_EQ(gpt.moe.router.get<DtsOptions>().threshold, 0.01);
  options.task.add_bos_token = true;
  EXPECT_EQ(gpt_options(options, 100, 1, true).max_positions, 17);
}

}  // namespace
}  // namespace evomoe
