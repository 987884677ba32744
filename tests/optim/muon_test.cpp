#include "evomoe/optim/muon.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/optim/optimizer.h"
#include "evomoe/optim/orthogonalize.h"
#include "tests/optim/set_grad.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;
using testing::set_grad;
using ::testing::ThrowsMessage;

/// Keller Jordan's zeropower_via_newtonschulz5, in float64.
torch::Tensor newton_schulz(const torch::Tensor& G) {
  auto X = G.size(0) > G.size(1) ? G.t() : G;
  X = X / (X.norm() + 1e-7);
  for (int i = 0; i < 5; ++i) {
    const auto A = X.mm(X.t());
    X = 3.4445 * X + (-4.7750 * A + 2.0315 * A.mm(A)).mm(X);
  }
  return G.size(0) > G.size(1) ? X.t() : X;
}

/// The update of one matrix, in float64.
struct MuonReference {
  torch::Tensor p, m;
  void step(const torch::Tensor& g, double lr, double weight_decay, const std::string& scale) {
    m = (m.defined() ? 0.95 * m : torch::zeros_like(g)) + 0.05 * g;
    const auto rows = static_cast<double>(p.size(0)), columns = static_cast<double>(p.size(1));
    const double s = scale == "original" ? std::sqrt(std::max(1.0, rows / columns))
                                         : 0.2 * std::sqrt(std::max(rows, columns));
    p = p * (1 - lr * weight_decay) - lr * s * newton_schulz(0.05 * g + 0.95 * m);
  }
};

TEST(Muon, EqualsItsDefinitionInFloat64) {
  for (const std::string scale : {"original", "moonlight"}) {
    torch::manual_seed(1);
    std::vector<NamedParameter> parameters;
    std::vector<MuonReference> references;
    for (const auto& shape : std::vector<std::vector<int64_t>>{{48, 48}, {60, 17}, {9, 70}}) {
      const auto start = torch::randn(shape) * 0.1;
      parameters.push_back({fmt::format("p{}", parameters.size()), start.clone().requires_grad_()});
      references.push_back({.p = start.to(torch::kFloat64), .m = {}});
    }
    Optimizer optimizer(parameters, std::make_unique<Muon>(MuonOptions{.scale = scale}),
                        {.weight_decay = 0.1});
    for (int t = 0; t < 4; ++t) {
      for (size_t i = 0; i < parameters.size(); ++i) {
        const auto gradient = torch::randn(parameters[i].tensor.sizes());
        set_grad(parameters[i].tensor, gradient);
        references[i].step(gradient.to(torch::kFloat64) * 0.25, 0.02, 0.1, scale);
      }
      optimizer.step(0.02, 0.25);
    }
    for (size_t i = 0; i < parameters.size(); ++i) {
      const auto difference = (parameters[i].tensor.detach() - references[i].p).abs().max();
      EXPECT_LT(difference.item<double>(), 1e-4) << scale << " " << i;
    }
  }
}

TEST(Muon, OrthogonalizesEachExpertOfAStackByItself) {
  torch::manual_seed(2);
  const auto start = torch::randn({3, 12, 7}),
             size = torch::tensor({1e-4, 1.0, 1e4}).view({3, 1, 1});
  const NamedParameter stack = {"w", start.clone().requires_grad_(), ParameterKind::kExpert};
  std::vector<MuonReference> experts;
  for (int64_t e = 0; e < 3; ++e) experts.push_back({.p = start[e].to(torch::kFloat64), .m = {}});
  Optimizer optimizer({stack}, std::make_unique<Muon>(MuonOptions()));
  for (int t = 0; t < 3; ++t) {
    const auto gradient = (torch::randn({3, 12, 7}) * size).to(torch::kFloat32);
    set_grad(stack.tensor, gradient);
    optimizer.step(0.02);
    for (int64_t e = 0; e < 3; ++e)
      experts[static_cast<size_t>(e)].step(gradient[e].to(torch::kFloat64), 0.02, 0, "moonlight");
  }
  for (int64_t e = 0; e < 3; ++e) {
    const auto expected = experts[static_cast<size_t>(e)].p;
    EXPECT_TRUE(torch::allclose(stack.tensor[e].to(torch::kFloat64), expected, 1e-3, 1e-4)) << e;
  }
}

TEST(Muon, AnExpertWithoutGradientStaysAndIsFinite) {
  const NamedParameter stack = {"w", torch::ones({2, 3, 4}).requires_grad_(),
                                ParameterKind::kExpert};
  Optimizer optimizer({stack}, std::make_unique<Muon>(MuonOptions()));
  auto gradient = torch::zeros({2, 3, 4});
  gradient[1] = torch::eye(3, 4);
  set_grad(stack.tensor, gradient);
  optimizer.step(0.1);
  EXPECT_TRUE(torch::equal(stack.tensor[0], torch::ones({3, 4})));
  EXPECT_FALSE(torch::equal(stack.tensor[1], torch::ones({3, 4})));
  EXPECT_TRUE(stack.tensor.isfinite().all().item<bool>());
}

TEST(Muon, GivesAllSingularValuesAboutTheSameSize) {
  torch::manual_seed(3);
  const auto spread = torch::logspace(0, 2, 20, 10.0, torch::kFloat64);
  const auto q = std::get<0>(torch::linalg_qr(torch::randn({40, 20}, torch::kFloat64)));
  const auto r = std::get<0>(torch::linalg_qr(torch::randn({20, 20}, torch::kFloat64)));
  const auto values = torch::linalg_svdvals(orthogonalize(q.mul(spread).mm(r)));
  EXPECT_GT(values.min().item<double>(), 0.3);
  EXPECT_LT(values.max().item<double>(), 1.3);
  EXPECT_THAT([] { orthogonalize(torch::ones({3})); }, ThrowsMessage<Error>(HasSubstr("matrices")));
}

TEST(Muon, LeavesEmbeddingsHeadsNormsBiasesAndRoutersToAdam) {
  torch::manual_seed(4);
  const MuonOptions options{.adam_betas = {0.8, 0.9}, .adam_eps = 1e-6, .adam_lr_factor = 0.5};
  std::vector<NamedParameter> ours, theirs;
  for (const auto kind : {ParameterKind::kEmbedding, ParameterKind::kHead, ParameterKind::kNorm,
                          ParameterKind::kBias, ParameterKind::kRouter, ParameterKind::kExpert}) {
    // Biases of experts have two axes, too.
    const auto start = torch::randn({5, 4});
    ours.push_back({parameter_kind_name(kind), start.clone().requires_grad_(), kind});
    theirs.push_back({parameter_kind_name(kind), start.clone().requires_grad_(), kind});
  }
  Optimizer muon(ours, std::make_unique<Muon>(options), {.weight_decay = 0.1});
  Optimizer adam(theirs, std::make_unique<Adam>(AdamOptions{.betas = {0.8, 0.9}, .eps = 1e-6}),
                 {.weight_decay = 0.1});
  for (int t = 0; t < 3; ++t) {
    for (size_t i = 0; i < ours.size(); ++i) {
      const auto gradient = torch::randn({5, 4});
      set_grad(ours[i].tensor, gradient);
      set_grad(theirs[i].tensor, gradient);
    }
    muon.step(0.02);
    adam.step(0.01);
  }
  for (size_t i = 0; i < ours.size(); ++i)
    EXPECT_TRUE(torch::equal(ours[i].tensor, theirs[i].tensor)) << ours[i].name;
  for (const auto& [name, tensor] : muon.state_dict())
    EXPECT_THAT(name, ::testing::Not(HasSubstr("momentum_buffer")));
}

TEST(Muon, OtherTypesAndLayoutsGiveTheSameNumbers) {
  torch::manual_seed(5);
  const auto start = torch::randn({2, 6, 5});
  const auto plain = start.clone().requires_grad_();
  const auto strided = start.transpose(1, 2).contiguous().transpose(1, 2).requires_grad_();
  const auto wide = start.to(torch::kFloat64).requires_grad_();
  const auto kind = ParameterKind::kExpert;
  Optimizer optimizer({{"plain", plain, kind}, {"strided", strided, kind}, {"wide", wide, kind}},
                      std::make_unique<Muon>(MuonOptions()), {.weight_decay = 0.1});
  for (int t = 0; t < 3; ++t) {
    const auto gradient = torch::randn({2, 6, 5});
    set_grad(plain, gradient);
    set_grad(strided, gradient);
    set_grad(wide, gradient.to(torch::kFloat64));
    optimizer.step(0.01, 0.5);
  }
  EXPECT_TRUE(torch::allclose(plain, strided, 1e-4, 1e-5));
  EXPECT_TRUE(torch::allclose(plain.to(torch::kFloat64), wide, 1e-4, 1e-5));
}

TEST(Muon, ItsStateIsOneMomentOfMatrices) {
  const Muon muon({});
  EXPECT_EQ(state_bytes(muon, ParameterKind::kMatrix, {10, 20}, false), 4 * 200);
  EXPECT_EQ(state_bytes(muon, ParameterKind::kExpert, {3, 10, 20}, false), 4 * 600);
  EXPECT_EQ(state_bytes(muon, ParameterKind::kExpert, {3, 10}, false), 2 * 4 * 30);
  EXPECT_EQ(state_bytes(muon, ParameterKind::kEmbedding, {10, 20}, false), 2 * 4 * 200);
}

TEST(Muon, RefusesBadOptions) {
  const auto make = [](MuonOptions options) { return [=] { Muon made(options); }; };
  EXPECT_THAT(make({.momentum = 1}), ThrowsMessage<UsageError>(HasSubstr("--muon-momentum is 1")));
  EXPECT_THAT(make({.scale = "big"}), ThrowsMessage<UsageError>(HasSubstr("--muon-scale 'big'")));
  EXPECT_THAT(make({.steps = 0}), ThrowsMessage<UsageError>(HasSubstr("--muon-steps is 0")));
  EXPECT_THAT(make({.adam_betas = {0.9, 1.0}}),
              ThrowsMessage<UsageError>(HasSubstr("--muon-adam-betas: beta2 is 1")));
  EXPECT_THAT(make({.adam_eps = 0}), ThrowsMessage<UsageError>(HasSubstr("--muon-adam-eps is 0")));
  EXPECT_THAT(make({.adam_lr_factor = -1}),
              ThrowsMessage<UsageError>(HasSubstr("--muon-adam-lr-factor is -1")));
}

}  // namespace
}  // namespace evomoe
