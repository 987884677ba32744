#include "evomoe/train/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/config/describe.h"
#include "evomoe/config/validate_options.h"
#include "evomoe/routing/registry.h"
#include "evomoe/train/criterion.h"
#include "tests/routing/hash_router.h"

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
  describe(table, options);
  table.parse(arguments);
  return options;
}

const std::string kExperts = "--moe-freq 2 --moe-expert-count 4 ";

void expect_refused(const std::string& flags, const std::vector<std::string>& parts) {
  SCOPED_TRACE(flags);
  const auto options = parsed(kExperts + flags);
  EXPECT_NO_THROW(validate_options(options));
  for (const auto& part : parts) {
    EXPECT_THAT([&] { check_router(options); }, ThrowsMessage<UsageError>(HasSubstr(part)));
  }
}

TEST(CheckRouter, UnknownMethodsAreRefusedWithTheNearestName) {
  expect_refused("--moe-router swich", {"--moe-router swich", "did you mean switch"});
  // Without MoE layers there is no router.
  EXPECT_NO_THROW(check_router(parsed("--moe-router swich")));
}

TEST(CheckRouter, FlagsThatTheMethodDoesNotHeedAreRefusedOneByOne) {
  expect_refused("--moe-top1-expert --moe-k 3",
                 {"--moe-k 3", "--moe-router switch", "leave it out"});
  expect_refused("--moe-top1-expert --moe-batch-prioritized-routing",
                 {"--moe-batch-prioritized-routing", "--moe-router switch"});
  expect_refused("--moe-top1-expert --dts-normalize-weights", {"--dts-normalize-weights"});
  expect_refused("--moe-top1-expert --dts-threshold .5", {"--dts-threshold 0.5"});
  expect_refused("--moe-top1-expert --use-gumbel-softmax", {"--use-gumbel-softmax", "switch"});
  expect_refused("--use-gumbel-softmax", {"--use-gumbel-softmax", "--moe-router gshard"});
  expect_refused("--moe-topk-expert --moe-second-expert-policy all",
                 {"--moe-second-expert-policy all", "--moe-router dts"});
  expect_refused("--moe-router topk --moe-k 5", {"--moe-k 5", "--moe-expert-count"});
  expect_refused("--moe-router gshard --moe-expert-count 1",
                 {"--moe-expert-count 1", "at least 2"});
}

TEST(CheckRouter, TheReferencesCommandLinesAreAccepted) {
  for (const auto* flags :
       {"--moe-top1-expert --moe-gating-use-fp32 --moe-normalize-expert-grad world_size "
        "--moe-eval-capacity-token-fraction -1.0 --criterion moe_cross_entropy",
        "--moe-top1-expert --use-gumbel-softmax --use-gumbel-gates",
        "--moe-second-expert-policy all --moe-gating-use-fp32 --moe-batch-prioritized-routing",
        "--moe-topk-expert --topk 4 --use-gumbel-softmax --max-temperature 2.0 "
        "--gumbel-decay-scheduler Linear --moe-gating-use-fp32 --moe-eval-capacity-token-fraction "
        "-1.0"}) {
    const auto options = parsed(kExperts + flags);
    EXPECT_NO_THROW(validate_options(options)) << flags;
    EXPECT_NO_THROW(check_router(options)) << flags;
  }
}

TEST(CheckRouter, ASharedStageIsFollowedByDroplessMethodsOnly) {
  const std::string shared = "--shared-expert-updates 5 ";
  for (const std::string method : {"switch", "gshard", "topk"}) {
    expect_refused(shared + "--moe-router " + method,
                   {"--shared-expert-updates 5", "--moe-router " + method,
                    "--moe-train-capacity-token-fraction 0"});
    EXPECT_NO_THROW(check_router(parsed(
        kExperts + shared + "--moe-train-capacity-token-fraction 0 --moe-router " + method)));
  }
  for (const std::string method : {"dts", "dense"}) {
    EXPECT_NO_THROW(check_router(parsed(kExperts + shared + "--moe-router " + method)));
  }
}

TEST(Settings, AMethodOfAnotherProgramIsTrainedByItsName) {
  register_router(
      "hash", [](const RouterOptions& options) { return std::make_shared<HashRouter>(options); });
  const auto options =
      parsed(kExperts + "--moe-router hash --criterion moe_cross_entropy --dropout 0");
  EXPECT_NO_THROW(validate_options(options));
  EXPECT_NO_THROW(check_router(options));
  expect_refused("--moe-router hsah", {"did you mean hash"});
  expect_refused("--moe-router hash --moe-k 3", {"--moe-k 3", "--moe-router hash"});

  Gpt model(gpt_options(options, /*vocab_size=*/20, /*padding_index=*/1, /*shared_expert=*/false));
  model->initialise(1);
  torch::manual_seed(2);
  DeviceBatch batch;
  batch.source_BS = torch::randint(3, 20, {2, 16}, torch::kInt64);
  batch.target_BS = torch::randint(3, 20, {2, 16}, torch::kInt64);
  batch.tokens = batch.sample_size = 32;
  const Criterion criterion(options.criterion, 1);
  std::vector<torch::Tensor> parameters = model->parameters();
  double first = 0, last = 0;
  for (int step = 0; step < 30; ++step) {
    ForwardContext context;
    context.training = true;
    const auto output = model->forward(batch.source_BS, context);
    const auto result = criterion(model, output, batch);
    last = result.sums.loss;
    if (step == 0) {
      first = last;
      ASSERT_EQ(output.stats.size(), 1U);
      const auto expected = torch::bincount(batch.source_BS.flatten() % 4, {}, 4);
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

TEST(Settings, WhatIsGivenOverridesTheArchitecture) {
  auto options = parsed(
      "--arch transformer_lm_gpt3_small --dropout 0.2 --moe-freq 1 "
      "--moe-expert-count 4 --moe-topk-expert --dts-threshold 0.01");
  const auto gpt = gpt_options(options, 100, 1, /*shared_expert=*/true);
  EXPECT_EQ(gpt.layers, 2);
  EXPECT_EQ(gpt.embed_dim, 16);
  EXPECT_EQ(gpt.activation, "gelu");
  EXPECT_EQ(gpt.dropout, 0.2);
  EXPECT_TRUE(gpt.learned_positions);
  EXPECT_TRUE(gpt.tie_embeddings);
  EXPECT_TRUE(gpt.moe.shared_expert);
  EXPECT_EQ(gpt.max_positions, 16);
  EXPECT_EQ(gpt.moe.router.method, "dts");
  EXPECT_EQ(gpt.moe.router.threshold, 0.01);
  options.task.add_bos_token = true;
  EXPECT_EQ(gpt_options(options, 100, 1, true).max_positions, 17);
}

}  // namespace
}  // namespace evomoe
