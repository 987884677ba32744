#include "evomoe/optim/adam.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/optim/optimizer.h"
#include "tests/optim/set_grad.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;
using testing::set_grad;
using ::testing::ThrowsMessage;

torch::Tensor random_parameter(std::vector<int64_t> shape,
                               torch::ScalarType type = torch::kFloat32) {
  return torch::randn(shape).to(type).requires_grad_();
}

Optimizer make_adam(std::vector<NamedParameter> parameters, AdamOptions options = {},
                    OptimizerSettings settings = {}) {
  return {std::move(parameters), std::make_unique<Adam>(std::move(options)), std::move(settings)};
}

TEST(Adam, RawLoopEqualsItsDefinitionInFloat64) {
  torch::manual_seed(1);
  const auto p = random_parameter({131, 257});
  auto reference_p = p.detach().to(torch::kFloat64).clone();
  auto m = torch::zeros_like(reference_p), v = torch::zeros_like(reference_p);
  auto adam = make_adam({{"p", p}}, {.betas = {0.9, 0.98}, .eps = 1e-6}, {.weight_decay = 0.1});
  for (int t = 1; t <= 4; ++t) {
    const auto gradient = torch::randn_like(p).detach();
    set_grad(p, gradient);
    adam.step(0.01, 0.25);
    const auto g = gradient.to(torch::kFloat64) * 0.25;
    m = 0.9 * m + 0.1 * g;
    v = 0.98 * v + 0.02 * g * g;
    const double size = 0.01 * std::sqrt(1 - std::pow(0.98, t)) / (1 - std::pow(0.9, t));
    reference_p = reference_p * (1 - 0.01 * 0.1) - size * m / (v.sqrt() + 1e-6);
  }
  EXPECT_LT((p.detach() - reference_p).abs().max().item<double>(), 1e-6);
}

TEST(Adam, OtherTypesAndLayoutsGiveTheSameNumbers) {
  torch::manual_seed(2);
  const auto start = torch::randn({6, 5});
  const auto plain = start.clone().requires_grad_();
  const auto transposed = start.t().contiguous().t().requires_grad_();
  const auto wide = start.to(torch::kFloat64).requires_grad_();
  const auto half = start.to(torch::kBFloat16).requires_grad_();
  ASSERT_FALSE(transposed.is_contiguous());
  auto adam =
      make_adam({{"plain", plain}, {"transposed", transposed}, {"wide", wide}, {"half", half}}, {},
                {.weight_decay = 0.1});
  for (int t = 0; t < 3; ++t) {
    const auto gradient = torch::randn({6, 5});
    set_grad(plain, gradient.t().contiguous().t());
    set_grad(transposed, gradient);
    set_grad(wide, gradient.to(torch::kFloat64));
    set_grad(half, gradient.to(torch::kBFloat16));
    adam.step(0.01, 0.5);
  }
  EXPECT_TRUE(torch::allclose(plain, transposed, 1e-5, 1e-6));
  EXPECT_TRUE(torch::allclose(plain.to(torch::kFloat64), wide, 1e-5, 1e-6));
  EXPECT_TRUE(torch::allclose(plain, half.to(torch::kFloat32), 0.05, 0.05));
  EXPECT_EQ(adam.state_dict().at("half.exp_avg").scalar_type(), torch::kFloat32);
}

TEST(Adam, IsTheSameForAnyNumberOfThreads) {
  const int threads = torch::get_num_threads();
  std::vector<torch::Tensor> results;
  for (const int count : {1, 3}) {
    torch::set_num_threads(count);
    torch::manual_seed(3);
    const auto p = random_parameter({100'003});
    auto adam = make_adam({{"p", p}});
    for (int t = 0; t < 2; ++t) {
      set_grad(p, torch::randn({100'003}));
      adam.step(0.01);
    }
    results.push_back(p.detach());
  }
  torch::set_num_threads(threads);
  EXPECT_TRUE(torch::equal(results[0], results[1]));
}

TEST(Adam, SkipsUndefinedGradientsButNotZeroOnes) {
  const auto used = torch::ones({3}).requires_grad_(), unused = torch::ones({3}).requires_grad_();
  auto adam = make_adam({{"used", used}, {"unused", unused}}, {}, {.weight_decay = 0.5});
  set_grad(used, torch::zeros({3}));
  adam.step(0.1);
  EXPECT_TRUE(torch::allclose(used, torch::full({3}, 0.95)));
  EXPECT_TRUE(torch::equal(unused, torch::ones({3})));
  const auto state = adam.state_dict();
  EXPECT_EQ(state.at("used.step").item<int64_t>(), 1);
  EXPECT_EQ(state.at("unused.step").item<int64_t>(), 0);
  EXPECT_FALSE(state.contains("unused.exp_avg"));
}

TEST(Adam, ZeroGradDropsTheGradients) {
  const auto p = torch::ones({3}).requires_grad_(), never = torch::ones({3}).requires_grad_();
  auto adam = make_adam({{"p", p}, {"never", never}});
  set_grad(p, torch::ones({3}));
  adam.zero_grad();
  EXPECT_FALSE(p.grad().defined());
  EXPECT_FALSE(never.grad().defined());
}

TEST(Adam, ContinuesExactlyFromItsState) {
  torch::manual_seed(4);
  const auto a = random_parameter({7, 3}), untouched = random_parameter({2});
  auto first = make_adam({{"a", a}, {"untouched", untouched}}, {}, {.weight_decay = 0.01});
  set_grad(a, torch::randn({7, 3}));
  first.step(0.01);
  std::map<std::string, torch::Tensor> saved;
  for (const auto& [name, tensor] : first.state_dict()) saved[name] = tensor.clone();
  const auto copy = a.detach().clone().requires_grad_();
  auto second = make_adam({{"a", copy}, {"untouched", untouched}}, {}, {.weight_decay = 0.01});
  second.load_state_dict(saved);
  const auto gradient = torch::randn({7, 3});
  set_grad(a, gradient);
  set_grad(copy, gradient);
  first.step(0.02);
  second.step(0.02);
  EXPECT_TRUE(torch::equal(a, copy));
}

TEST(Adam, RefusesAStateThatDoesNotFitAndKeepsItsOwn) {
  const auto p = torch::ones({3}).requires_grad_();
  auto adam = make_adam({{"p", p}});
  set_grad(p, torch::ones({3}));
  adam.step(0.1);
  const auto load = [&](auto change) {
    auto state = adam.state_dict();
    change(state);
    return [&adam, state] { adam.load_state_dict(state); };
  };
  EXPECT_THAT(load([](auto& s) { s.erase("p.exp_avg_sq"); }),
              ThrowsMessage<Error>(HasSubstr("'p.exp_avg_sq' is missing")));
  EXPECT_THAT(load([](auto& s) { s.erase("p.step"); }),
              ThrowsMessage<Error>(HasSubstr("'p.step' is missing")));
  EXPECT_THAT(load([](auto& s) { s["q.step"] = torch::tensor(int64_t{0}); }),
              ThrowsMessage<Error>(HasSubstr("'q.step' belongs to no parameter")));
  EXPECT_THAT(load([](auto& s) { s["noise"] = torch::ones({1}); }),
              ThrowsMessage<Error>(HasSubstr("'noise' belongs to no parameter")));
  EXPECT_THAT(load([](auto& s) { s["p.step"] = torch::tensor(int64_t{0}); }),
              ThrowsMessage<Error>(HasSubstr("'p.exp_avg' belongs to no parameter")));
  EXPECT_THAT(load([](auto& s) { s["p.exp_avg"] = torch::ones({4}); }),
              ThrowsMessage<Error>(HasSubstr("has shape [4], the parameter [3] needs [3]")));
  EXPECT_THAT(load([](auto& s) { s["p.step"] = torch::tensor(1.5); }),
              ThrowsMessage<Error>(HasSubstr("not one int64")));
  EXPECT_EQ(adam.state_dict().at("p.step").template item<int64_t>(), 1);
}

TEST(Adam, ReplacedParameterKeepsItsStepsAndTransformedMoments) {
  torch::manual_seed(5);
  const auto one = random_parameter({1, 4});
  auto adam = make_adam({{"w", one}});
  set_grad(one, torch::randn({1, 4}));
  adam.step(0.01);
  const auto old = adam.state_dict().at("w.exp_avg").clone();
  const auto four = one.detach().repeat({4, 1}).requires_grad_();
  adam.replace("w", four, [](torch::Tensor moment, int gradient_power) {
    return gradient_power == 2 ? moment.expand({4, 4}) : moment.repeat({4, 1}) * 0.5;
  });
  auto state = adam.state_dict();
  EXPECT_EQ(state.at("w.step").item<int64_t>(), 1);
  EXPECT_TRUE(torch::equal(state.at("w.exp_avg"), old.repeat({4, 1}) * 0.5));
  const auto before = four.detach().clone();
  set_grad(four, torch::ones({4, 4}));
  adam.step(0.01);
  EXPECT_EQ(adam.state_dict().at("w.step").item<int64_t>(), 2);
  EXPECT_FALSE(torch::equal(four, before));
  EXPECT_TRUE(torch::equal(four[0], four[3]));

  EXPECT_THAT(([&] { adam.replace("v", four, nullptr); }),
              ThrowsMessage<Error>(HasSubstr("no parameter 'v'")));
  EXPECT_THAT(
      ([&] { adam.replace("w", one, [](torch::Tensor m, bool) { return m; }); }),
      ThrowsMessage<Error>(HasSubstr("has shape [4, 4], and its new parameter needs [1, 4]")));
  EXPECT_EQ(adam.parameters()[0].tensor.size(0), 4);
}

TEST(Adam, RefusesBadOptionsAndParameters) {
  const auto p = torch::ones({1}).requires_grad_();
  const auto make = [&](AdamOptions options, double weight_decay = 0) {
    return [=] { make_adam({{"p", p}}, options, {.weight_decay = weight_decay}); };
  };
  EXPECT_THAT(make({.betas = {1.0, 0.9}}), ThrowsMessage<UsageError>(HasSubstr("beta1 is 1")));
  EXPECT_THAT(make({.betas = {0.9, -0.1}}), ThrowsMessage<UsageError>(HasSubstr("beta2 is -0.1")));
  EXPECT_THAT(make({.betas = {0.9, NAN}}), ThrowsMessage<UsageError>(HasSubstr("beta2 is nan")));
  EXPECT_THAT(make({.eps = 0}), ThrowsMessage<UsageError>(HasSubstr("--adam-eps is 0")));
  EXPECT_THAT(make({.eps = 1e-300}), ThrowsMessage<UsageError>(HasSubstr("--adam-eps is 1e-300")));
  EXPECT_THAT(make({}, /*weight_decay=*/-1),
              ThrowsMessage<UsageError>(HasSubstr("--weight-decay is -1")));
  EXPECT_THAT(([&] {
                make_adam({{"p", p}, {"p", p}});
              }),
              ThrowsMessage<Error>(HasSubstr("called 'p'")));
  EXPECT_THAT(([&] {
                make_adam({{"p", torch::Tensor()}});
              }),
              ThrowsMessage<Error>(HasSubstr("undefined")));
  EXPECT_THAT(([&] {
                make_adam({{"p", torch::ones({1}, torch::kInt64)}});
              }),
              ThrowsMessage<Error>(HasSubstr("'p' has type")));
}

TEST(Adam, MomentsOnDiskGiveTheSameBits) {
  const testing::TemporaryFolder folder;
  torch::manual_seed(5);
  const auto start = torch::randn({600, 700}), small = torch::randn({7});
  const auto gradient = torch::randn({4, 600, 700});
  const auto train = [&](const std::filesystem::path& offload) {
    const auto p = start.clone().requires_grad_(), q = small.clone().requires_grad_();
    auto adam = make_adam({{"p", p}, {"q", q}}, {},
                          {.weight_decay = 0.1, .lr_factors = {}, .offload = offload});
    for (int64_t t = 0; t < 4; ++t) {
      if (t == 2) {  // goes on as from a checkpoint
        std::map<std::string, torch::Tensor> copy;
        for (const auto& [name, tensor] : adam.state_dict()) copy[name] = tensor.clone();
        adam.load_state_dict(copy);
      }
      if (t == 3) {
        adam.replace("p", p, [](torch::Tensor moment, bool) { return moment * 0.5; });
      }
      set_grad(p, gradient[t]);
      set_grad(q, gradient[t][0].slice(0, 0, 7));
      adam.step(0.01);
    }
    auto state = adam.state_dict();
    state["p"] = p.detach();
    state["q"] = q.detach();
    for (auto& [name, tensor] : state) tensor = tensor.clone();
    return state;
  };
  const auto memory = train({}), disk = train(folder.path());
  ASSERT_EQ(memory.size(), disk.size());
  for (const auto& [name, tensor] : memory)
    EXPECT_TRUE(torch::equal(tensor, disk.at(name))) << name;
  EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << "files without a name";
}

TEST(Adam, AFolderForMomentsThatIsNoneIsNamed) {
  const auto p = random_parameter({600, 700});
  EXPECT_THAT(
      [&] {
        make_adam({{"p", p}}, {},
                  {.weight_decay = 0, .lr_factors = {}, .offload = "/nowhere/at/all"});
      },
      ThrowsMessage<UsageError>(HasSubstr("--offload-moments /nowhere/at/all")));
}

}  // namespace
}  // namespace evomoe
