#include "evomoe/optim/adafactor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/optim/optimizer.h"
#include "tests/optim/set_grad.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;
using testing::set_grad;
using ::testing::ThrowsMessage;

double root_mean_square(const torch::Tensor& x) { return x.square().mean().sqrt().item<double>(); }

/// The update of one parameter as fairseq's optim/adafactor.py has it, in float64.
struct AdafactorReference {
  torch::Tensor p, row, column, v, m;
  int t = 0;

  void step(const torch::Tensor& g, const AdafactorOptions& o, double lr, double weight_decay) {
    ++t;
    const double beta2 = 1 - std::pow(t, o.decay_rate);
    if (o.relative_step) lr = std::min(o.warmup_init ? 1e-6 * t : 1e-2, 1 / std::sqrt(t));
    if (o.scale_parameter) lr *= std::max(o.adafactor_eps[1], root_mean_square(p));
    const auto average = [&](torch::Tensor& mean, const torch::Tensor& now) {
      mean = mean.defined() ? beta2 * mean + (1 - beta2) * now : (1 - beta2) * now;
    };
    const auto square = g * g + o.adafactor_eps[0];
    torch::Tensor u;
    if (p.dim() >= 2) {
      average(row, square.mean(-1));
      average(column, square.mean(-2));
      u = g / (row / row.mean(-1, true)).unsqueeze(-1).sqrt() / column.unsqueeze(-2).sqrt();
    } else {
      average(v, square);
      u = g / v.sqrt();
    }
    u = u * lr / std::max(1.0, root_mean_square(u) / o.clip_threshold);
    if (o.beta1) u = m = (m.defined() ? *o.beta1 * m : torch::zeros_like(u)) + (1 - *o.beta1) * u;
    p = p - weight_decay * lr * p - u;
  }
};

struct Case {
  std::string name;
  AdafactorOptions options;
};

class AdafactorCases : public ::testing::TestWithParam<Case> {};

TEST_P(AdafactorCases, EqualItsDefinitionInFloat64) {
  torch::manual_seed(1);
  const auto& options = GetParam().options;
  const std::vector<std::vector<int64_t>> shapes = {{67, 131}, {3, 5}, {1, 9}, {40'000}, {1}};
  std::vector<NamedParameter> parameters;
  std::vector<AdafactorReference> references;
  for (const auto& shape : shapes) {
    const auto start = torch::randn(shape) * 0.1;
    parameters.push_back({fmt::format("p{}", parameters.size()), start.clone().requires_grad_()});
    references.push_back({.p = start.to(torch::kFloat64)});
  }
  Optimizer optimizer(parameters, std::make_unique<Adafactor>(options), {.weight_decay = 0.1});
  for (int t = 0; t < 5; ++t) {
    for (size_t i = 0; i < parameters.size(); ++i) {
      auto gradient = torch::randn(shapes[i]);
      // A row without a gradient, as that of a token that does not come.
      if (t == 2 && gradient.dim() == 2) gradient[0].zero_();
      set_grad(parameters[i].tensor, gradient);
      references[i].step(gradient.to(torch::kFloat64) * 0.25, options, 0.01, 0.1);
    }
    optimizer.step(0.01, 0.25);
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto difference = (parameters[i].tensor.detach() - references[i].p).abs().max();
    EXPECT_LT(difference.item<double>(), 1e-6) << GetParam().name << " " << i;
  }
}

TEST_P(AdafactorCases, OfExpertsThatAreStackedEachIsAParameterOfItsOwn) {
  torch::manual_seed(2);
  const auto& options = GetParam().options;
  // Experts of different sizes, so that scales and clipping of all together would show.
  const auto scale = torch::tensor({0.01, 1.0, 100.0});
  const auto w = (torch::randn({3, 8, 5}) * scale.view({3, 1, 1})).to(torch::kFloat32);
  const auto b = (torch::randn({3, 8}) * scale.view({3, 1})).to(torch::kFloat32);
  const NamedParameter weight = {"w", w.clone().requires_grad_(), ParameterKind::kExpert};
  const NamedParameter bias = {"b", b.clone().requires_grad_(), ParameterKind::kExpert};
  std::vector<AdafactorReference> weights, biases;
  for (int64_t e = 0; e < 3; ++e) {
    weights.push_back({.p = w[e].to(torch::kFloat64)});
    biases.push_back({.p = b[e].to(torch::kFloat64)});
  }
  Optimizer optimizer({weight, bias}, std::make_unique<Adafactor>(options), {.weight_decay = 0.1});
  for (int t = 0; t < 4; ++t) {
    const auto gw = torch::randn({3, 8, 5}), gb = torch::randn({3, 8});
    if (t == 0) gw[1].zero_();  // an expert without tokens
    set_grad(weight.tensor, gw);
    set_grad(bias.tensor, gb);
    optimizer.step(0.01);
    for (int64_t e = 0; e < 3; ++e) {
      weights[static_cast<size_t>(e)].step(gw[e].to(torch::kFloat64), options, 0.01, 0.1);
      biases[static_cast<size_t>(e)].step(gb[e].to(torch::kFloat64), options, 0.01, 0.1);
    }
  }
  for (int64_t e = 0; e < 3; ++e) {
    const auto i = static_cast<size_t>(e);
    EXPECT_TRUE(torch::allclose(weight.tensor[e].to(torch::kFloat64), weights[i].p, 1e-5, 1e-6));
    EXPECT_TRUE(torch::allclose(bias.tensor[e].to(torch::kFloat64), biases[i].p, 1e-5, 1e-6));
  }
  const auto state = optimizer.state_dict();
  EXPECT_EQ(state.at("w.exp_avg_sq_row").sizes().vec(), (std::vector<int64_t>{3, 8}));
  EXPECT_EQ(state.at("w.exp_avg_sq_col").sizes().vec(), (std::vector<int64_t>{3, 5}));
  EXPECT_EQ(state.at("b.exp_avg_sq").sizes().vec(), (std::vector<int64_t>{3, 8}));
}

TEST_P(AdafactorCases, OtherTypesAndLayoutsGiveTheSameNumbers) {
  torch::manual_seed(3);
  const auto start = torch::randn({2, 6, 5});
  const auto plain = start.clone().requires_grad_();
  const auto strided = start.transpose(1, 2).contiguous().transpose(1, 2).requires_grad_();
  const auto wide = start.to(torch::kFloat64).requires_grad_();
  ASSERT_FALSE(strided.is_contiguous());
  for (const auto kind : {ParameterKind::kExpert, ParameterKind::kMatrix}) {
    Optimizer optimizer({{"plain", plain, kind}, {"strided", strided, kind}, {"wide", wide, kind}},
                        std::make_unique<Adafactor>(GetParam().options), {.weight_decay = 0.1});
    for (int t = 0; t < 3; ++t) {
      const auto gradient = torch::randn({2, 6, 5});
      set_grad(plain, gradient);
      set_grad(strided, gradient);
      set_grad(wide, gradient.to(torch::kFloat64));
      optimizer.step(0.01, 0.5);
    }
    EXPECT_TRUE(torch::allclose(plain, strided, 1e-5, 1e-6));
    EXPECT_TRUE(torch::allclose(plain.to(torch::kFloat64), wide, 1e-5, 1e-6));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Adafactor, AdafactorCases,
    ::testing::Values(Case{"defaults", {}}, Case{"first_moment", {.beta1 = 0.9}},
                      Case{"scaled", {.scale_parameter = true}},
                      Case{"clipped", {.clip_threshold = 0.3, .decay_rate = -0.5}},
                      Case{"relative", {.scale_parameter = true, .relative_step = true}},
                      Case{"warmup", {.beta1 = 0.5, .relative_step = true, .warmup_init = true}}),
    [](const auto& info) { return info.param.name; });

// The formulas of fairseq's optim/adafactor.py worked by hand: g = [[3, 4], [0, 0]] in the first
// step, where the second moments are those of this gradient alone. Row means 12.5 and 1e-30, column
// means 4.5 and 8; the mean of the rows is 6.25, so the factors of the first row are
// sqrt(6.25/12.5) = .70711 and 1/sqrt(4.5), 1/sqrt(8): the update is [1, 1] in the first row, 0 in
// the second one. Its root mean square is sqrt(2/4) = .70711, which is not clipped.
TEST(Adafactor, TheFirstUpdateOfAMatrixIsWorkedByHand) {
  const auto p = torch::zeros({2, 2}).requires_grad_();
  Optimizer optimizer({{"p", p}}, std::make_unique<Adafactor>(AdafactorOptions()));
  set_grad(p, torch::tensor({{3.0F, 4.0F}, {0.0F, 0.0F}}));
  optimizer.step(0.5);
  EXPECT_TRUE(torch::allclose(p, torch::tensor({{-0.5F, -0.5F}, {0.0F, 0.0F}}), 1e-6, 1e-7)) << p;
}

TEST(Adafactor, IsTheSameForAnyNumberOfThreads) {
  const int threads = torch::get_num_threads();
  std::vector<torch::Tensor> results;
  for (const int count : {1, 3}) {
    torch::set_num_threads(count);
    torch::manual_seed(3);
    const auto p = torch::randn({400, 501}).requires_grad_(), v = torch::randn({70'001});
    v.requires_grad_();
    Optimizer optimizer({{"p", p}, {"v", v}},
                        std::make_unique<Adafactor>(AdafactorOptions{.scale_parameter = true}));
    for (int t = 0; t < 2; ++t) {
      set_grad(p, torch::randn({400, 501}));
      set_grad(v, torch::randn({70'001}));
      optimizer.step(0.01);
    }
    results.push_back(torch::cat({p.detach().flatten(), v.detach()}));
  }
  torch::set_num_threads(threads);
  EXPECT_TRUE(torch::equal(results[0], results[1]));
}

TEST(Adafactor, TheRateOfRelativeStepsDoesNotDependOnTheSchedule) {
  const Adafactor plain({}), relative({.relative_step = true}),
      warming({.relative_step = true, .warmup_init = true});
  EXPECT_EQ(plain.learning_rate(0.125, 7), 0.125);
  EXPECT_EQ(relative.learning_rate(0.125, 7), 0.01);
  EXPECT_EQ(relative.learning_rate(0.125, 40'000), 0.005);
  EXPECT_DOUBLE_EQ(warming.learning_rate(0.125, 7), 7e-6);
}

TEST(Adafactor, TheStateOfAMatrixIsItsRowsAndColumns) {
  const Adafactor adafactor({});
  EXPECT_EQ(state_bytes(adafactor, ParameterKind::kMatrix, {1000, 2000}, false), 4 * 3000);
  EXPECT_EQ(state_bytes(adafactor, ParameterKind::kExpert, {8, 1000, 2000}, false), 4 * 8 * 3000);
  EXPECT_EQ(state_bytes(adafactor, ParameterKind::kExpert, {8, 1000}, false), 4 * 8000);
  const Adafactor with_first({.beta1 = 0.9});
  EXPECT_EQ(state_bytes(with_first, ParameterKind::kMatrix, {1000, 2000}, false), 4 * 2'003'000);
  EXPECT_EQ(state_bytes(with_first, ParameterKind::kMatrix, {1000, 2000}, /*offload=*/true),
            4 * 3000)
      << "only the first moment is worth a file";
}

TEST(Adafactor, RefusesBadOptions) {
  const auto make = [](AdafactorOptions options) { return [=] { Adafactor made(options); }; };
  EXPECT_THAT(make({.adafactor_eps = {0, 1e-3}}),
              ThrowsMessage<UsageError>(HasSubstr("--adafactor-eps is 0")));
  EXPECT_THAT(make({.adafactor_eps = {1e-30, -1}}),
              ThrowsMessage<UsageError>(HasSubstr("--adafactor-eps is -1")));
  EXPECT_THAT(make({.clip_threshold = 0}),
              ThrowsMessage<UsageError>(HasSubstr("--clip-threshold is 0")));
  EXPECT_THAT(make({.decay_rate = 0.8}),
              ThrowsMessage<UsageError>(HasSubstr("--decay-rate is 0.8")));
  EXPECT_THAT(make({.beta1 = 1.0}), ThrowsMessage<UsageError>(HasSubstr("--beta1 is 1")));
  EXPECT_THAT(make({.warmup_init = true}),
              ThrowsMessage<UsageError>(HasSubstr("--warmup-init has no effect without")));
}

}  // namespace
}  // namespace evomoe
