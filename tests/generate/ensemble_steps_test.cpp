#include "evomoe/generate/ensemble_steps.h"

#include <gtest/gtest.h>

#include <cmath>

namespace evomoe {
namespace {

/// Gives every hypothesis the same probabilities and remembers what it was told.
class ConstantSteps : public NextTokens {
 public:
  ConstantSteps(std::vector<float> probability, int64_t positions, std::vector<int64_t>* told)
      : probability_(std::move(probability)), positions_(positions), told_(told) {}
  int64_t max_positions() const override { return positions_; }
  torch::Tensor next(const torch::Tensor& token_N) override {
    return torch::tensor(probability_).log().repeat({token_N.size(0), 1});
  }
  void reorder(const torch::Tensor& order_N) override {
    told_->push_back(order_N[0].item<int64_t>());
  }

 private:
  std::vector<float> probability_;
  int64_t positions_;
  std::vector<int64_t>* told_;
};

TEST(EnsembleSteps, AverageTheProbabilitiesAndAskAllModels) {
  std::vector<int64_t> told;
  std::vector<std::unique_ptr<NextTokens>> models;
  models.push_back(std::make_unique<ConstantSteps>(std::vector<float>{.5F, .25F, .25F}, 9, &told));
  models.push_back(std::make_unique<ConstantSteps>(std::vector<float>{.1F, .1F, .8F}, 7, &told));
  models.push_back(std::make_unique<ConstantSteps>(std::vector<float>{.3F, .7F, .0F}, 8, &told));
  EnsembleSteps ensemble(std::move(models));
  EXPECT_EQ(ensemble.max_positions(), 7);
  const auto log_probability_NV = ensemble.next(torch::tensor({2, 2}, torch::kInt64));
  const auto expected_V = torch::tensor({.3F, .35F, .35F}).log();
  ASSERT_EQ(log_probability_NV.sizes(), torch::IntArrayRef({2, 3}));
  EXPECT_TRUE(torch::allclose(log_probability_NV, expected_V.repeat({2, 1}), 1e-5, 1e-6));
  ensemble.reorder(torch::tensor({1, 0}, torch::kInt64));
  EXPECT_EQ(told, (std::vector<int64_t>{1, 1, 1}));
}

TEST(EnsembleSteps, TemperEachModelBeforeTheMean) {
  std::vector<int64_t> told;
  std::vector<std::unique_ptr<NextTokens>> models;
  models.push_back(std::make_unique<ConstantSteps>(std::vector<float>{.8F, .2F}, 9, &told));
  models.push_back(std::make_unique<ConstantSteps>(std::vector<float>{.5F, .5F}, 9, &told));
  EnsembleSteps ensemble(std::move(models), /*temperature=*/0.5);
  const auto log_probability_NV = ensemble.next(torch::tensor({2}, torch::kInt64));
  const float first = (.64F / (.64F + .04F) + .5F) / 2;  // squares, normalised
  EXPECT_TRUE(
      torch::allclose(log_probability_NV, torch::tensor({{first, 1 - first}}).log(), 1e-5, 1e-6));
}

TEST(EnsembleSteps, OfOneModelAreItsOwn) {
  const auto log_probability = torch::tensor({-1.25F, -0.5F});
  EXPECT_TRUE(torch::equal(log_mean_probability({log_probability}), log_probability));
  EXPECT_TRUE(torch::allclose(log_mean_probability({log_probability, log_probability}),
                              log_probability, 0, 1e-6));
}

}  // namespace
}  // namespace evomoe
