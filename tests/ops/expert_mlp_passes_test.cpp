// Forward and backward pass without autograd, and weights that are parts of larger tensors.
#include "evomoe/ops/expert_mlp_passes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

constexpr int64_t kTokens = 6, kExperts = 3, kDim = 4, kHidden = 5;

struct GatedCase {
  torch::Tensor x_TD, token_A, weight_A, offset_E1, gate_up, w2_EDH;
  ExpertMlpOptions options;

  explicit GatedCase(torch::Dtype type = torch::kFloat32) {
    torch::manual_seed(1);
    token_A = torch::tensor({0, 2, 5, 1, 2}, torch::kInt64);  // the last expert has none
    offset_E1 = torch::tensor({0, 3, 5, 5}, torch::kInt64);
    x_TD = torch::randn({kTokens, kDim}, type);
    weight_A = torch::rand({5}, type);
    gate_up = torch::randn({kExperts, 2 * kHidden, kDim}, type);
    w2_EDH = torch::randn({kExperts, kDim, kHidden}, type);
    options.activation = "silu";
  }
  static torch::Tensor half(const torch::Tensor& whole, int64_t i) {
    return whole.slice(1, i * kHidden, (i + 1) * kHidden);
  }
  ExpertWeights in_place() const {
    return {.w1_EHD = half(gate_up, 0), .w2_EDH = w2_EDH, .w3_EHD = half(gate_up, 1)};
  }
  ExpertWeights apart() const {
    return {
        .w1_EHD = half(gate_up, 0).clone(), .w2_EDH = w2_EDH, .w3_EHD = half(gate_up, 1).clone()};
  }
};

TEST(ExpertMlpPasses, AreThoseOfTheFunctionWithAutograd) {
  for (const auto type : {torch::kFloat32, torch::kFloat64}) {
    for (const bool keep : {false, true}) {
      const GatedCase given(type);
      auto weights = given.apart();
      const auto x_TD = given.x_TD.clone().requires_grad_();
      const auto weight_A = given.weight_A.clone().requires_grad_();
      for_each_weight(
          [](torch::Tensor& tensor) {
            if (tensor.defined()) tensor = tensor.clone().requires_grad_();
          },
          weights);
      const auto y_TD =
          expert_mlp(x_TD, given.token_A, weight_A, given.offset_E1, weights, given.options);
      const auto grad_y_TD = torch::randn_like(y_TD);
      y_TD.backward(grad_y_TD);

      const auto forward =
          expert_mlp_forward(given.x_TD, given.token_A, given.weight_A, given.offset_E1,
                             given.in_place(), given.options, keep);
      EXPECT_TRUE(torch::equal(forward.y_TD, y_TD));
      EXPECT_EQ(forward.hidden.pre_AH.defined(), keep);
      EXPECT_EQ(forward.hidden.factor_AH.defined(), keep);
      const auto all = torch::full_like(given.gate_up, 7);
      ExpertWeights into;
      into.w1_EHD = GatedCase::half(all, 0);
      into.w3_EHD = GatedCase::half(all, 1);
      const auto grad =
          expert_mlp_backward(given.x_TD, given.token_A, given.weight_A, given.offset_E1,
                              given.in_place(), given.options, forward.hidden, grad_y_TD, into);
      EXPECT_TRUE(torch::allclose(grad.x_TD, x_TD.grad()));
      EXPECT_TRUE(torch::allclose(grad.weight_A, weight_A.grad()));
      EXPECT_TRUE(torch::allclose(GatedCase::half(all, 0), weights.w1_EHD.grad()));
      EXPECT_TRUE(torch::allclose(GatedCase::half(all, 1), weights.w3_EHD.grad()));
      EXPECT_TRUE(torch::allclose(grad.weights.w2_EDH, weights.w2_EDH.grad()));
      EXPECT_EQ(all[2].abs().sum().item<double>(), 0);  // zeros, of the expert without tokens

      const auto frozen = expert_mlp_backward(given.x_TD, given.token_A, given.weight_A,
                                              given.offset_E1, given.in_place(), given.options,
                                              forward.hidden, grad_y_TD, {}, /*of_weights=*/false);
      EXPECT_TRUE(torch::equal(frozen.x_TD, grad.x_TD));
      EXPECT_TRUE(torch::equal(frozen.weight_A, grad.weight_A));
      for_each_weight([](const torch::Tensor& none) { EXPECT_FALSE(none.defined()); },
                      frozen.weights);
    }
  }
}

TEST(ExpertMlpPasses, FrozenExpertsHaveNoGradientsAndTheirTokensTheSame) {
  const GatedCase given;
  std::vector<torch::Tensor> gradients;
  for (const bool trained : {false, true}) {
    auto weights = given.apart();
    for_each_weight(
        [&](torch::Tensor& tensor) {
          if (tensor.defined()) tensor = tensor.clone().requires_grad_(trained);
        },
        weights);
    const auto x_TD = given.x_TD.clone().requires_grad_();
    expert_mlp(x_TD, given.token_A, given.weight_A, given.offset_E1, weights, given.options)
        .sum()
        .backward();
    EXPECT_EQ(weights.w1_EHD.grad().defined(), trained);
    gradients.push_back(x_TD.grad());
  }
  EXPECT_TRUE(torch::equal(gradients[0], gradients[1]));
}

TEST(ExpertMlpPasses, ReadPartsOfLargerTensorsWhateverTheirSteps) {
  const GatedCase given;
  const auto expected = expert_mlp(given.x_TD, given.token_A, given.weight_A, given.offset_E1,
                                   given.apart(), given.options);
  const auto y_of = [&](const ExpertWeights& weights) {
    return expert_mlp(given.x_TD, given.token_A, given.weight_A, given.offset_E1, weights,
                      given.options);
  };
  EXPECT_TRUE(torch::equal(y_of(given.in_place()), expected));
  auto transposed = given.in_place();  // an expert's own numbers are not in a row
  transposed.w2_EDH = given.w2_EDH.transpose(1, 2).contiguous().transpose(1, 2);
  EXPECT_TRUE(torch::equal(y_of(transposed), expected));
  auto one_for_all = given.apart();
  one_for_all.w2_EDH = given.w2_EDH.slice(0, 0, 1).expand({kExperts, kDim, kHidden});
  auto copied = one_for_all;
  copied.w2_EDH = one_for_all.w2_EDH.contiguous();
  EXPECT_TRUE(torch::equal(y_of(one_for_all), y_of(copied)));
}

TEST(ExpertMlpPasses, KeepWhatTheyAreToldToKeep) {
  for (const bool recompute : {false, true}) {
    for (const bool keep : {false, true}) {
      GatedCase given;
      given.options.recompute = recompute;
      const auto forward = expert_mlp_forward(given.x_TD, given.token_A, given.weight_A,
                                              given.offset_E1, given.apart(), given.options, keep);
      EXPECT_EQ(forward.hidden.pre_AH.defined(), keep);
      EXPECT_EQ(forward.hidden.factor_AH.defined(), keep);
    }
  }
}

TEST(ExpertMlpPasses, RefuseAPlaceForAGradientThatIsNotLikeTheWeight) {
  const GatedCase given;
  const auto refused = [&](const ExpertWeights& into, const char* message) {
    EXPECT_THAT(
        [&] {
          expert_mlp_backward(given.x_TD, given.token_A, given.weight_A, given.offset_E1,
                              given.apart(), given.options, {}, given.x_TD, into);
        },
        ::testing::ThrowsMessage<Error>(::testing::HasSubstr(message)));
  };
  const auto w2_EDH = torch::empty_like(given.w2_EDH);
  refused({.b1_EH = torch::empty({kExperts, kHidden})}, "gradient of b1, which the experts do not");
  refused({.w2_EDH = w2_EDH.slice(2, 1)}, "gradient of w2 must be like it");
  refused({.w2_EDH = w2_EDH.to(torch::kFloat64)}, "gradient of w2 must be like it");
  refused({.w2_EDH = torch::empty({kExperts, kHidden, kDim}).transpose(1, 2)},
          "each expert's own numbers contiguous");
}

TEST(ExpertMlpPasses, RefuseAGradientOfAnotherShape) {
  const GatedCase given;
  EXPECT_THAT(
      [&] {
        expert_mlp_backward(given.x_TD, given.token_A, given.weight_A, given.offset_E1,
                            given.apart(), given.options, {}, given.x_TD.slice(0, 1));
      },
      ::testing::ThrowsMessage<Error>(::testing::HasSubstr("must be like their input")));
}

}  // namespace
}  // namespace evomoe
