#include "evomoe/generate/text_generator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "evomoe/base/error.h"
#include "evomoe/generate/token_candidates.h"
#include "tests/models/small_gpt.h"

namespace evomoe {
namespace {

using testing::kPositions;
using testing::make_gpt;
using testing::small_gpt;

GenerationOptions greedy(int64_t tokens) {
  GenerationOptions options;
  options.max_new_tokens = tokens;
  options.end_token = -1;
  return options;
}

/// The most probable token behind `text`, by a whole forward pass.
int64_t best_next(Gpt& model, const std::vector<int64_t>& text) {
  const auto token_BS = torch::tensor(text, torch::kInt64).unsqueeze(0);
  return testing::logits_of(model, token_BS, ForwardContext())[0][-1].argmax().item<int64_t>();
}

TEST(Generate, GreedyTextIsTheArgmaxOfWholeForwardPasses) {
  const torch::NoGradGuard no_grad;
  auto model = make_gpt(small_gpt("dts"));
  std::vector<int64_t> text = {5, 9, 30};
  for (const auto token : generate(model, text, greedy(12))) {
    EXPECT_EQ(token, best_next(model, text));
    text.push_back(token);
  }
  EXPECT_EQ(text.size(), 15U);
}

TEST(Generate, BeyondThePositionsTheTextGoesOnFromItsSecondHalf) {
  const torch::NoGradGuard no_grad;
  auto model = make_gpt(small_gpt());
  std::vector<int64_t> all = {5, 9, 30}, window = all;
  const auto made = generate(model, all, greedy(60));
  EXPECT_EQ(made.size(), 60U);
  for (const auto token : made) {
    // The window holds what the cache holds: when it is full, it starts over from its last half.
    if (static_cast<int64_t>(window.size()) > kPositions)
      window.assign(all.end() - kPositions / 2, all.end());
    EXPECT_EQ(token, best_next(model, window));
    all.push_back(token);
    window.push_back(token);
  }
  // A prompt that is too long is cut in the same way.
  const std::vector<int64_t> prompt(all.begin(), all.begin() + kPositions + 10);
  const std::vector<int64_t> tail(prompt.end() - kPositions / 2, prompt.end());
  EXPECT_EQ(generate(model, prompt, greedy(5)), generate(model, tail, greedy(5)));
}

TEST(Generate, EndTokenMinimumAndForbiddenTokensAreHeeded) {
  const torch::NoGradGuard no_grad;
  auto model = make_gpt(small_gpt());
  const std::vector<int64_t> prompt = {5, 9, 30};
  const auto free = generate(model, prompt, greedy(8));
  auto options = greedy(8);
  options.end_token = free[0];
  EXPECT_TRUE(generate(model, prompt, options).empty());
  options.min_new_tokens = 3;
  const auto longer = generate(model, prompt, options);
  EXPECT_GE(longer.size(), 3U);
  for (const auto token : longer) EXPECT_NE(token, options.end_token);
  options = greedy(8);
  options.never = {free[0], free[1]};
  for (const auto token : generate(model, prompt, options)) {
    EXPECT_TRUE(token != free[0] && token != free[1]);
  }
}

TEST(Generate, SamplesDependOnSeedAndStreamAlone) {
  const torch::NoGradGuard no_grad;
  auto model = make_gpt(small_gpt());
  auto options = greedy(20);
  options.sample = true;
  const auto text = generate(model, {7}, options, 2);
  EXPECT_EQ(text, generate(model, {7}, options, 2));
  EXPECT_NE(text, generate(model, {7}, options, 3));
  options.seed = 2;
  EXPECT_NE(text, generate(model, {7}, options, 2));
}

/// How often each token comes when u runs evenly through (0,1).
std::map<int64_t, double> shares(const torch::Tensor& log_probability_V,
                                 const GenerationOptions& options) {
  std::map<int64_t, double> count;
  const int steps = 1000;
  for (int i = 0; i < steps; ++i) {
    count[choose_token(log_probability_V, options, (i + 0.5) / steps)] += 1.0 / steps;
  }
  return count;
}

TEST(ChooseToken, KeepsTopKAndTheSmallestSetThatReachesTopP) {
  const auto log_probability_V = torch::tensor({0.1, 0.4, 0.2, 0.3}).log();
  GenerationOptions options;
  EXPECT_EQ(choose_token(log_probability_V, options, 0.99), 1) << "greedy";
  options.sample = true;
  auto share = shares(log_probability_V, options);
  EXPECT_NEAR(share[0], 0.1, 2e-3);
  EXPECT_NEAR(share[1], 0.4, 2e-3);
  options.top_k = 2;
  share = shares(log_probability_V, options);
  EXPECT_EQ(share.size(), 2U);
  EXPECT_NEAR(share[1], 4.0 / 7, 2e-3);
  EXPECT_NEAR(share[3], 3.0 / 7, 2e-3);
  options.top_k = 0;
  options.top_p = 0.65;  // .4 + .3
  EXPECT_EQ(shares(log_probability_V, options).size(), 2U);
  options.top_p = 0.75;  // .4 + .3 + .2
  share = shares(log_probability_V, options);
  EXPECT_EQ(share.size(), 3U);
  EXPECT_NEAR(share[2], 2.0 / 9, 2e-3);
  options.top_p = 1e-6;
  EXPECT_EQ(shares(log_probability_V, options).size(), 1U);
  options.top_k = 3;
  options.top_p = 0.75;  // of what top-k left: 4/9 + 3/9
  EXPECT_EQ(shares(log_probability_V, options).size(), 2U);
  options.top_p = 0.8;
  EXPECT_EQ(shares(log_probability_V, options).size(), 3U);
}

TEST(ChooseToken, TheTemperatureSharpensOrFlattens) {
  const auto log_probability_V = torch::tensor({0.2, 0.8}).log();
  GenerationOptions options;
  options.sample = true;
  options.temperature = 0.5;
  EXPECT_NEAR(shares(log_probability_V, options)[1], 0.64 / 0.68, 2e-3);
  options.temperature = 100;
  EXPECT_NEAR(shares(log_probability_V, options)[1], 0.5, 5e-3);
}

TEST(ChooseToken, HasTheSamplerOfTheBeamSearch) {
  const auto x_V = torch::tensor({0.05, 0.35, 0.2, 0.3, 0.1}).log();
  GenerationOptions options;
  options.sample = true;
  for (const int64_t k : {0, 1, 2, 4}) {
    for (const double p : {0.0, 0.3, 0.6, 0.9}) {
      options.top_k = k;
      options.top_p = p;
      for (double u = 0.01; u < 1; u += 0.02)
        EXPECT_EQ(choose_token(x_V, options, u), sampled_token(x_V, k, p, u).token)
            << k << " " << p;
    }
  }
}

TEST(ChooseToken, WithoutAnyProbabilityThereIsNone) {
  GenerationOptions options;
  EXPECT_EQ(choose_token(torch::full({4}, -INFINITY), options, 0.5), -1);
  EXPECT_THROW(choose_token(torch::full({4}, NAN), options, 0.5), Error);
}

TEST(PromptWindow, IsHalfOfThePositionsWhereAPromptIsLonger) {
  EXPECT_EQ(prompt_window(10, 10), 10);
  EXPECT_EQ(prompt_window(11, 10), 5);
  EXPECT_EQ(prompt_window(2, 1), 1);
}

TEST(Generate, ImpossibleOptionsAreRefused) {
  auto options = greedy(0);
  EXPECT_THROW(options.validate(), UsageError);
  options = greedy(1);
  options.temperature = 0;
  EXPECT_THROW(options.validate(), UsageError);
  options = greedy(1);
  options.top_p = 1.5;
  EXPECT_THROW(options.validate(), UsageError);
  auto model = make_gpt(small_gpt());
  EXPECT_THROW(generate(model, {}, greedy(1)), Error);
}

}  // namespace
}  // namespace evomoe
