// What holds for every optimiser, whatever its rule: each test runs for all of the registry.
#include "evomoe/optim/optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/optim/optimizer_options.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::unique_ptr<const UpdateRule> rule_of(const std::string& name) {
  OptimizerOptions options;
  options.optimizer = name;
  options.of<AdafactorOptions>().beta1 = 0.9;  // all of its state
  return options.make_rule();
}

/// A matrix, a vector and experts, with the same values each time.
std::vector<NamedParameter> some_parameters() {
  torch::manual_seed(7);
  return {{"matrix", torch::randn({6, 5}).requires_grad_(), ParameterKind::kMatrix},
          {"norm", torch::randn({5}).requires_grad_(), ParameterKind::kNorm},
          {"experts", torch::randn({3, 4, 5}).requires_grad_(), ParameterKind::kExpert}};
}

void set_gradients(const std::vector<NamedParameter>& parameters, uint64_t seed) {
  torch::manual_seed(seed);
  for (const auto& parameter : parameters) {
    auto tensor = parameter.tensor;
    tensor.mutable_grad() = torch::randn(tensor.sizes());
  }
}

void expect_equal(const std::vector<NamedParameter>& a, const std::vector<NamedParameter>& b) {
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_TRUE(torch::equal(a[i].tensor, b[i].tensor)) << a[i].name;
}

class EveryOptimizer : public ::testing::TestWithParam<std::string> {};

TEST_P(EveryOptimizer, GoesOnExactlyFromItsState) {
  auto whole = some_parameters();
  Optimizer first(whole, rule_of(GetParam()), {.weight_decay = 0.01});
  for (uint64_t t = 0; t < 2; ++t) {
    set_gradients(whole, t);
    first.step(0.01);
  }
  std::map<std::string, torch::Tensor> saved;
  for (const auto& [name, tensor] : first.state_dict()) saved[name] = tensor.clone();
  auto resumed = whole;
  for (auto& parameter : resumed) parameter.tensor = parameter.tensor.detach().clone();
  Optimizer second(resumed, rule_of(GetParam()), {.weight_decay = 0.01});
  second.load_state_dict(saved);
  for (uint64_t t = 2; t < 4; ++t) {
    set_gradients(whole, t);
    first.step(0.02);
    set_gradients(resumed, t);
    second.step(0.02);
  }
  expect_equal(whole, resumed);
}

TEST_P(EveryOptimizer, RefusesTheStateOfAnotherOneAndNamesTheRemedy) {
  const auto parameters = some_parameters();
  for (const auto& other : optimizer_names()) {
    if (other == GetParam()) continue;
    Optimizer theirs(parameters, rule_of(other)), ours(parameters, rule_of(GetParam()));
    set_gradients(parameters, 1);
    theirs.step(0.01);
    EXPECT_THAT([&] { ours.load_state_dict(theirs.state_dict()); },
                ThrowsMessage<Error>(
                    AllOf(HasSubstr("--optimizer " + GetParam()), HasSubstr("--reset-optimizer"))));
    EXPECT_EQ(ours.state_dict().at("matrix.step").item<int64_t>(), 0);
  }
}

TEST_P(EveryOptimizer, KeepsItsStateWhenOneExpertBecomesSeveral) {
  auto one = torch::randn({1, 4, 5}).requires_grad_();
  auto bias = torch::randn({1, 4}).requires_grad_();
  Optimizer optimizer({{"w", one, ParameterKind::kExpert}, {"b", bias, ParameterKind::kExpert}},
                      rule_of(GetParam()));
  set_gradients(optimizer.parameters(), 1);
  optimizer.step(0.01);
  std::map<std::string, torch::Tensor> before;
  for (const auto& [name, tensor] : optimizer.state_dict()) before[name] = tensor.clone();
  const auto copies = [](const torch::Tensor& tensor) {
    auto sizes = tensor.sizes().vec();
    sizes[0] = 3;
    return tensor.detach().expand(sizes).clone();
  };
  optimizer.replace("w", copies(one).requires_grad_(),
                    [&](torch::Tensor moment, bool) { return copies(moment); });
  optimizer.replace("b", copies(bias).requires_grad_(),
                    [&](torch::Tensor moment, bool) { return copies(moment); });
  for (const auto& [name, tensor] : optimizer.state_dict()) {
    const auto expected = name.ends_with(".step") ? before.at(name) : copies(before.at(name));
    EXPECT_TRUE(torch::equal(tensor, expected)) << name;
  }
  // Experts with the same gradient stay copies of each other, and of one that was never replaced.
  for (const auto& parameter : optimizer.parameters()) {
    auto tensor = parameter.tensor;
    tensor.mutable_grad() = torch::ones(tensor.sizes());
  }
  one.mutable_grad() = torch::ones({1, 4, 5});
  Optimizer alone({{"w", one, ParameterKind::kExpert}}, rule_of(GetParam()));
  std::map<std::string, torch::Tensor> of_w;
  for (const auto& [name, tensor] : before) {
    if (name.starts_with("w.")) of_w[name] = tensor;
  }
  alone.load_state_dict(of_w);
  optimizer.step(0.01);
  alone.step(0.01);
  const auto& spawned = optimizer.parameters()[0].tensor;
  for (int64_t e = 0; e < 3; ++e) EXPECT_TRUE(torch::equal(spawned[e], one[0])) << e;
}

TEST_P(EveryOptimizer, TheFactorOfAKindIsAFactorOfItsLearningRate) {
  const auto with = some_parameters(), alone = some_parameters();
  Optimizer factors(with, rule_of(GetParam()),
                    {.weight_decay = 0.1, .lr_factors = LrFactors({"expert=0.5", "norm=2"})});
  Optimizer plain({alone[2]}, rule_of(GetParam()), {.weight_decay = 0.1});
  Optimizer norm({alone[1]}, rule_of(GetParam()), {.weight_decay = 0.1});
  Optimizer matrix({alone[0]}, rule_of(GetParam()), {.weight_decay = 0.1});
  for (uint64_t t = 0; t < 3; ++t) {
    set_gradients(with, t);
    set_gradients(alone, t);
    factors.step(0.02);
    plain.step(0.01);
    norm.step(0.04);
    matrix.step(0.02);
  }
  expect_equal(with, alone);
}

TEST_P(EveryOptimizer, AFactorOfZeroFreezesAKind) {
  const auto parameters = some_parameters(), before = some_parameters();
  Optimizer optimizer(parameters, rule_of(GetParam()),
                      {.weight_decay = 0.1, .lr_factors = LrFactors({"expert=0"})});
  set_gradients(parameters, 1);
  optimizer.step(0.02);
  EXPECT_TRUE(torch::equal(parameters[2].tensor, before[2].tensor));
  EXPECT_FALSE(torch::equal(parameters[0].tensor, before[0].tensor));
}

TEST_P(EveryOptimizer, StateOnDiskGivesTheSameBits) {
  const testing::TemporaryFolder folder;
  const auto train = [&](const std::filesystem::path& offload) {
    torch::manual_seed(5);
    const std::vector<NamedParameter> parameters = {
        {"large", torch::randn({600, 700}).requires_grad_()},
        {"small", torch::randn({7}).requires_grad_()}};
    Optimizer optimizer(parameters, rule_of(GetParam()),
                        {.weight_decay = 0.1, .lr_factors = {}, .offload = offload});
    for (uint64_t t = 0; t < 3; ++t) {
      set_gradients(parameters, t);
      optimizer.step(0.01);
    }
    const bool on_disk = !offload.empty();
    EXPECT_EQ(optimizer.resident_bytes() < 4 * 600 * 700, on_disk);
    auto state = optimizer.state_dict();
    state["large"] = parameters[0].tensor.detach();
    for (auto& [name, tensor] : state) tensor = tensor.clone();
    return state;
  };
  const auto memory = train({}), disk = train(folder.path());
  ASSERT_EQ(memory.size(), disk.size());
  for (const auto& [name, tensor] : memory)
    EXPECT_TRUE(torch::equal(tensor, disk.at(name))) << name;
}

TEST_P(EveryOptimizer, HasASmallerLossAfterSomeUpdates) {
  torch::manual_seed(9);
  const auto target = torch::randn({8, 6}), w = torch::randn({8, 6}).requires_grad_();
  Optimizer optimizer({{"w", w}}, rule_of(GetParam()));
  const auto loss = [&] { return (w - target).square().mean(); };
  const auto before = loss().item<double>();
  for (int t = 0; t < 200; ++t) {
    optimizer.zero_grad();
    loss().backward();
    optimizer.step(0.1);
  }
  EXPECT_LT(loss().item<double>(), 0.1 * before);
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryOptimizer, ::testing::ValuesIn(optimizer_names()),
                         [](const auto& info) { return info.param; });

TEST(OptimizerOptions, AnUnknownOneIsNamedWithTheKnown) {
  OptimizerOptions options;
  options.optimizer = "sgd";
  EXPECT_THAT([&] { options.make_rule(); },
              ThrowsMessage<UsageError>(AllOf(HasSubstr("'sgd'"), HasSubstr("adafactor"))));
}

TEST(OptimizerOptions, EachMethodDescribesItsOwnWithFairseqsSpellings) {
  OptimizerOptions options;
  OptionTable table("train", "");
  options.describe(table);
  table.parse({"--optimizer", "adafactor", "--adafactor-eps", "(1e-28, 1e-2)", "--clip-threshold",
               "0.5", "--decay-rate", "-0.7", "--beta1", "0.9", "--scale-parameter", "--wd", "0.1",
               "--relative-step", "--warmup-init", "--lr-factor", "router=2,expert=0.5"});
  const auto& adafactor = options.of<AdafactorOptions>();
  EXPECT_EQ(options.optimizer, "adafactor");
  EXPECT_EQ(adafactor.adafactor_eps, (std::vector<double>{1e-28, 1e-2}));
  EXPECT_EQ(adafactor.clip_threshold, 0.5);
  EXPECT_EQ(adafactor.decay_rate, -0.7);
  EXPECT_EQ(adafactor.beta1, 0.9);
  EXPECT_TRUE(adafactor.scale_parameter && adafactor.relative_step && adafactor.warmup_init);
  EXPECT_EQ(options.weight_decay, 0.1);
  EXPECT_EQ(options.lr_factor, (std::vector<std::string>{"router=2", "expert=0.5"}));
  EXPECT_THAT(table.at("muon-momentum").help(), HasSubstr("Only with --optimizer muon."));
}

TEST(LrFactors, AreReadFromKindsAndNumbers) {
  const LrFactors factors({"router=2", "expert=5e-1"});
  EXPECT_EQ(factors.of(ParameterKind::kRouter), 2);
  EXPECT_EQ(factors.of(ParameterKind::kExpert), 0.5);
  EXPECT_EQ(factors.of(ParameterKind::kNorm), 1);
}

TEST(LrFactors, WhatTheyCannotBeIsRefused) {
  const auto read = [](std::vector<std::string> given) {
    return [=] { LrFactors factors(given); };
  };
  EXPECT_THAT(read({"gate=2"}),
              ThrowsMessage<UsageError>(AllOf(
                  HasSubstr("'gate'"), HasSubstr("expert, router, embedding, head, norm, bias, "
                                                 "matrix"))));
  EXPECT_THAT(read({"router"}), ThrowsMessage<UsageError>(HasSubstr("kind=factor")));
  for (const auto* bad :
       {"router=", "router=x", "router=-1", "router=nan", "router=inf", "router=2x"})
    EXPECT_THAT(read({bad}), ThrowsMessage<UsageError>(HasSubstr("at least 0"))) << bad;
  EXPECT_THAT(read({"router=2", "router=3"}), ThrowsMessage<UsageError>(HasSubstr("router twice")));
}

}  // namespace
}  // namespace evomoe
