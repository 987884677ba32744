#include "evomoe/ops/expert_mlp.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "evomoe/base/error.h"
#include "evomoe/ops/noise.h"
#include "tests/ops/finite_difference.h"

namespace evomoe {
namespace {

/// Which weights the experts have.
struct Kind {
  std::string name;
  bool gated = false, biases = true;
};

const Kind kPlain = {"plain"};
const Kind kGated = {"gated without biases", true, false};
const std::vector<Kind> kKinds = {
    kPlain, {"without biases", false, false}, {"gated", true, true}, kGated};
const std::vector<std::string> kActivations = {"gelu", "gelu_tanh", "relu", "silu"};

/// Who goes where, and the weights of the experts.
struct Problem {
  torch::Tensor token_A, offset_E1;
  ExpertForm form;
  std::vector<torch::Tensor> inputs;  // x, weight_A, and the weights that the experts have
};

/// `tokens_of[e]` are the tokens of expert e.
Problem make_problem(const std::vector<std::vector<int64_t>>& tokens_of, int64_t T, int64_t D,
                     int64_t H, torch::ScalarType type, const Kind& kind = kPlain) {
  torch::manual_seed(17);
  std::vector<int64_t> token, offset = {0};
  for (const auto& tokens : tokens_of) {
    token.insert(token.end(), tokens.begin(), tokens.end());
    offset.push_back(static_cast<int64_t>(token.size()));
  }
  const auto E = static_cast<int64_t>(tokens_of.size()), A = offset.back();
  Problem problem;
  problem.token_A = torch::tensor(token, torch::kInt64);
  problem.offset_E1 = torch::tensor(offset, torch::kInt64);
  problem.form = {
      .experts = E, .model_dim = D, .hidden_dim = H, .gated = kind.gated, .biases = kind.biases};
  const auto add = [&](const std::vector<int64_t>& sizes) {
    if (!sizes.empty()) problem.inputs.push_back(torch::randn(sizes, torch::kFloat64).to(type));
  };
  add({T, D});
  add({A});
  for_each_weight(add, expert_shapes(problem.form));
  return problem;
}

/// The weights among the inputs.
ExpertWeights weights_of(const Problem& problem, const std::vector<torch::Tensor>& in) {
  ExpertWeights weights;
  size_t i = 2;
  for_each_weight(
      [&](torch::Tensor& weight, const std::vector<int64_t>& shape) {
        if (!shape.empty()) weight = in[i++];
      },
      weights, expert_shapes(problem.form));
  return weights;
}

torch::Tensor run(const Problem& problem, const std::vector<torch::Tensor>& in,
                  const ExpertMlpOptions& options) {
  return expert_mlp(in[0], problem.token_A, in[1], problem.offset_E1, weights_of(problem, in),
                    options);
}

torch::Tensor activate(const torch::Tensor& x, const std::string& name) {
  if (name == "relu") return torch::relu(x);
  if (name == "silu") return x * torch::sigmoid(x);
  return torch::gelu(x, name == "gelu" ? "none" : "tanh");
}

/// The definition, assignment by assignment.
torch::Tensor definition(const Problem& problem, const std::vector<torch::Tensor>& in,
                         const std::string& activation) {
  const auto weights = weights_of(problem, in);
  const auto plus = [](const torch::Tensor& x, const torch::Tensor& bias, int64_t e) {
    return bias.defined() ? x + bias[e] : x;
  };
  auto y = torch::zeros_like(in[0]);
  const auto E = problem.offset_E1.size(0) - 1;
  for (int64_t e = 0; e < E; ++e) {
    for (auto a = problem.offset_E1[e].item<int64_t>();
         a < problem.offset_E1[e + 1].item<int64_t>(); ++a) {
      const auto token = problem.token_A.slice(0, a, a + 1);
      const auto x = in[0].index_select(0, token);
      auto hidden =
          activate(plus(torch::matmul(x, weights.w1_EHD[e].t()), weights.b1_EH, e), activation);
      if (problem.form.gated) hidden = hidden * torch::matmul(x, weights.w3_EHD[e].t());
      const auto out = plus(torch::matmul(hidden, weights.w2_EDH[e].t()), weights.b2_ED, e);
      y = y.index_add(0, token, in[1][a] * out);
    }
  }
  return y;
}

const std::vector<std::pair<std::string, std::vector<std::vector<int64_t>>>> kPatterns = {
    {"an empty expert", {{0, 2, 3}, {}, {1, 2}, {0, 1, 2, 3}}},
    {"one token", {{}, {3}, {}}},
    {"all tokens on one expert", {{}, {0, 1, 2, 3}}},
    {"no assignment", {{}, {}, {}}},
    {"all tokens on all experts", {{0, 1, 2, 3}, {0, 1, 2, 3}}}};

ExpertMlpOptions with_dropout(const std::string& activation, bool dropout, bool recompute) {
  ExpertMlpOptions options;
  options.activation = activation;
  options.activation_dropout = dropout ? 0.3 : 0.0;
  options.dropout = dropout ? 0.2 : 0.0;
  options.recompute = recompute;
  options.noise.seed = 3;
  options.noise.layer = 2;
  return options;
}

/// f(name, problem, activation) for each pattern, kind of experts and activation.
template <typename F>
void for_each_form(torch::ScalarType type, const F& f) {
  for (const auto& [name, tokens_of] : kPatterns) {
    for (const auto& kind : kKinds) {
      const auto problem = make_problem(tokens_of, 4, 3, 5, type, kind);
      for (const auto& activation : kActivations)
        f(name + ", " + kind.name + ", " + activation, problem, activation);
    }
  }
}

TEST(ExpertMlp, GradientsAreFiniteDifferences) {
  for_each_form(torch::kFloat64, [](const std::string& name, const Problem& problem,
                                    const std::string& activation) {
    const auto r = torch::randn({4, 3}, torch::kFloat64);
    // The activation does not know the pattern: one of them meets all patterns.
    const bool one = activation == "silu";
    if (!one && name.find(kPatterns.front().first) != 0) return;
    for (const bool dropout : {false, true}) {
      for (const bool recompute : {false, true}) {
        if (!one && dropout != recompute) continue;
        const auto options = with_dropout(activation, dropout, recompute);
        const auto error = testing::gradient_error(
            [&](const auto& in) { return (run(problem, in, options) * r).sum(); }, problem.inputs);
        EXPECT_LT(error, 1e-7) << name << ", dropout " << dropout << ", recompute " << recompute;
      }
    }
  });
}

TEST(ExpertMlp, IsTheDefinition) {
  for_each_form(torch::kFloat64,
                [](const std::string& name, const Problem& problem, const std::string& activation) {
                  EXPECT_TRUE(torch::allclose(
                      run(problem, problem.inputs, with_dropout(activation, false, false)),
                      definition(problem, problem.inputs, activation)))
                      << name;
                });
}

/// Outputs and all gradients of sum(y * r).
std::vector<torch::Tensor> everything(const Problem& problem, const torch::Tensor& r,
                                      const ExpertMlpOptions& options, torch::ScalarType type) {
  std::vector<torch::Tensor> in;
  for (const auto& input : problem.inputs) {
    in.push_back(input.to(type).detach().clone().requires_grad_(true));
  }
  const auto y = run(problem, in, options);
  auto result = torch::autograd::grad({(y * r.to(type)).sum()}, in);
  result.push_back(y.detach());
  return result;
}

std::vector<int64_t> range(int64_t begin, int64_t end) {
  std::vector<int64_t> values;
  for (auto i = begin; i < end; ++i) values.push_back(i);
  return values;
}

void expect_close(const std::vector<torch::Tensor>& fused, const std::vector<torch::Tensor>& plain,
                  const std::string& what, double tolerance = 2e-6) {
  ASSERT_EQ(fused.size(), plain.size());
  for (size_t i = 0; i < fused.size(); ++i) {
    const auto scale = plain[i].numel() == 0 ? 1.0 : plain[i].abs().max().item<double>();
    EXPECT_TRUE(torch::allclose(fused[i].to(torch::kFloat64), plain[i].to(torch::kFloat64), 1e-5,
                                tolerance * std::max(1.0, scale)))
        << what << ", tensor " << i;
  }
}

TEST(ExpertMlp, FusedKernelsAreTheDefinitionAndRepeatIt) {
  for_each_form(torch::kFloat32, [](const std::string& name, const Problem& problem,
                                    const std::string& activation) {
    const auto r = torch::randn({4, 3});
    std::vector<torch::Tensor> in;
    for (const auto& input : problem.inputs)
      in.push_back(input.to(torch::kFloat64).requires_grad_(true));
    const auto y = definition(problem, in, activation);
    std::vector<torch::Tensor> expected;
    for (const auto& input : in) expected.push_back(torch::zeros_like(input));
    if (y.requires_grad()) {  // there is an assignment
      expected = torch::autograd::grad({(y * r.to(torch::kFloat64)).sum()}, in, {}, std::nullopt,
                                       /*create_graph=*/false, /*allow_unused=*/true);
      for (size_t i = 0; i < in.size(); ++i)
        if (!expected[i].defined()) expected[i] = torch::zeros_like(in[i]);
    }
    expected.push_back(y.detach());
    const auto kept =
        everything(problem, r, with_dropout(activation, false, false), torch::kFloat32);
    expect_close(kept, expected, name);
    for (const bool recompute : {false, true}) {
      const auto again =
          everything(problem, r, with_dropout(activation, false, recompute), torch::kFloat32);
      for (size_t i = 0; i < kept.size(); ++i)
        EXPECT_TRUE(torch::equal(kept[i], again[i])) << name << ", " << recompute << ", " << i;
    }
  });
}

TEST(ExpertMlp, FusedKernelsAgreeWithThePlainFormAtEveryNumberOfRows) {
  for (const int64_t rows : {0, 1, 7, 8, 9, 255, 257}) {
    for (const auto& kind : kKinds) {
      const auto problem = make_problem({range(0, rows), {}, range(20, 20 + rows)}, 300, 16, 36,
                                        torch::kFloat32, kind);
      const auto r = torch::randn({300, 16});
      for (const auto& activation : kActivations) {
        const auto options = with_dropout(activation, true, false);
        expect_close(everything(problem, r, options, torch::kFloat32),
                     everything(problem, r, options, torch::kFloat64),
                     std::to_string(rows) + " rows, " + kind.name + ", " + activation,
                     kind.gated ? 2e-6 : 1e-6);
      }
    }
  }
}

/// Loads that take each path of the kernels: experts side by side or one after the other, in one
/// block of rows or several, with tokens that several of them share or not.
struct Load {
  std::string name;
  std::vector<std::vector<int64_t>> tokens_of;
  int64_t T, D, H;
};

std::vector<Load> loads() {
  std::vector<Load> all = {
      {"every token at every expert", {range(0, 40), range(0, 40), range(0, 40)}, 40, 16, 36},
      {"more rows than a block", {range(3, 1100), range(0, 1090)}, 1100, 4, 2048},
      {"one long expert and short ones", {range(0, 1100), {5}, range(7, 40), {}}, 1100, 8, 24}};
  Load disjoint{"short ones without a common token", {}, 257, 16, 36},
      shared{"short ones with common tokens", {}, 257, 16, 36};
  for (int64_t e = 0; e < 9; ++e) {
    disjoint.tokens_of.push_back(range(28 * e, 28 * e + (e % 3 == 0 ? 1 : 28)));
    shared.tokens_of.push_back(range(20 * e, 20 * e + 97));
  }
  all.push_back(disjoint);
  all.push_back(shared);
  return all;
}

TEST(ExpertMlp, FusedKernelsAgreeWithThePlainFormAtEveryLoad) {
  const auto threads = torch::get_num_threads();
  for (const auto& load : loads()) {
    for (const auto& kind : {kPlain, kGated}) {
      const auto problem =
          make_problem(load.tokens_of, load.T, load.D, load.H, torch::kFloat32, kind);
      const auto r = torch::randn({load.T, load.D});
      for (const bool recompute : {false, true}) {
        const auto options = with_dropout(kind.gated ? "silu" : "gelu", true, recompute);
        const auto plain = everything(problem, r, options, torch::kFloat64);
        for (const int count : {1, 2, 3}) {
          torch::set_num_threads(count);
          expect_close(everything(problem, r, options, torch::kFloat32), plain,
                       load.name + ", " + kind.name + ", threads " + std::to_string(count));
        }
      }
    }
  }
  torch::set_num_threads(threads);
}

TEST(ExpertMlp, WhatLayInMemoryBeforeDoesNotCount) {
  for (const auto& load : loads()) {
    for (const auto& kind : {kPlain, kGated}) {
      const auto problem =
          make_problem(load.tokens_of, load.T, load.D, load.H, torch::kFloat32, kind);
      const auto r = torch::randn({load.T, load.D});
      const auto options = with_dropout("gelu", true, true);
      const auto clean = everything(problem, r, options, torch::kFloat32);
      // The workspaces of these passes are full of NaN, and the next passes get their memory.
      auto poisoned = problem;
      poisoned.inputs[0] = torch::full_like(problem.inputs[0], std::nan(""));
      for (int i = 0; i < 2; ++i) everything(poisoned, r, options, torch::kFloat32);
      const auto after = everything(problem, r, options, torch::kFloat32);
      for (size_t i = 0; i < clean.size(); ++i) {
        EXPECT_TRUE(torch::equal(clean[i], after[i]))
            << load.name << ", " << kind.name << ", tensor " << i;
      }
    }
  }
}

TEST(ExpertMlp, ADenseBlockIsOneExpertThatHasEveryToken) {
  torch::manual_seed(5);
  for (const auto type : {torch::kFloat32, torch::kFloat64}) {
    const auto x = torch::randn({2, 9, 6}, type).requires_grad_();
    const auto w1 = torch::randn({10, 6}, type), b1 = torch::randn({10}, type),
               w2 = torch::randn({6, 10}, type), b2 = torch::randn({6}, type);
    const auto y = feed_forward(x,
                                {.w1_EHD = w1.unsqueeze(0),
                                 .b1_EH = b1.unsqueeze(0),
                                 .w2_EDH = w2.unsqueeze(0),
                                 .b2_ED = b2.unsqueeze(0)},
                                {});
    const auto expected = torch::linear(torch::gelu(torch::linear(x, w1, b1)), w2, b2);
    EXPECT_TRUE(torch::allclose(y, expected, 1e-5, 1e-5));
    const auto r = torch::randn({2, 9, 6}, type);
    EXPECT_TRUE(torch::allclose(torch::autograd::grad({(y * r).sum()}, {x})[0],
                                torch::autograd::grad({(expected * r).sum()}, {x})[0], 1e-4, 1e-5));
  }
}

TEST(ExpertMlp, SumsOfOutputsAreThoseOfEachExpertAndChangeNothing) {
  for (const auto type : {torch::kFloat32, torch::kFloat64}) {
    for (const auto& kind : kKinds) {
      SCOPED_TRACE(kind.name);
      // Of many rows, of few, of none, and one that shares its tokens.
      std::vector<int64_t> many(700);
      std::iota(many.begin(), many.end(), 0);
      const auto problem = make_problem({many, {1, 5}, {}, {5}}, 700, 12, 20, type, kind);
      const auto weights = weights_of(problem, problem.inputs);
      const ExpertMlpOptions options = {.activation_dropout = 0.3, .dropout = 0.2};
      torch::Tensor sum_ED;
      const auto y = expert_mlp(problem.inputs[0], problem.token_A, problem.inputs[1],
                                problem.offset_E1, weights, options, &sum_ED);
      EXPECT_TRUE(torch::equal(y, run(problem, problem.inputs, options)));
      for (int64_t e = 0; e < 4; ++e) {
        const auto token_N = problem.token_A.slice(0, problem.offset_E1[e].item<int64_t>(),
                                                   problem.offset_E1[e + 1].item<int64_t>());
        const auto one = of_each_weight(weights, [e](const torch::Tensor& all) { return all[e]; });
        const auto x_ND = problem.inputs[0].index_select(0, token_N);
        const auto plus = [](const torch::Tensor& x, const torch::Tensor& bias) {
          return bias.defined() ? x + bias : x;
        };
        auto act_NH = activate(plus(x_ND.mm(one.w1_EHD.t()), one.b1_EH), "gelu");
        if (kind.gated) act_NH = act_NH * x_ND.mm(one.w3_EHD.t());
        const auto expected_D = plus(act_NH.mm(one.w2_EDH.t()), one.b2_ED).sum(0);
        EXPECT_TRUE(torch::allclose(sum_ED[e], expected_D, 1e-3, 1e-2)) << e;
        if (type == torch::kFloat64) {
          EXPECT_TRUE(torch::allclose(sum_ED[e], expected_D, 1e-9, 1e-9)) << e;
        }
      }
    }
  }
}

TEST(ExpertMlp, RecomputingGivesTheSameBits) {
  for (const auto& kind : kKinds) {
    const auto problem =
        make_problem({range(0, 40), range(3, 20), {}}, 40, 16, 36, torch::kFloat32, kind);
    const auto r = torch::randn({40, 16});
    const auto kept = everything(problem, r, with_dropout("gelu", true, false), torch::kFloat32);
    const auto again = everything(problem, r, with_dropout("gelu", true, true), torch::kFloat32);
    for (size_t i = 0; i < kept.size(); ++i)
      EXPECT_TRUE(torch::equal(kept[i], again[i])) << kind.name << ", " << i;
  }
}

TEST(ExpertMlp, ThreadsDoNotChangeTheResult) {
  const auto problem =
      make_problem({range(0, 200), range(50, 400), {}}, 400, 64, 256, torch::kFloat32);
  const auto r = torch::randn({400, 64});
  const auto threads = torch::get_num_threads();
  torch::set_num_threads(1);
  const auto one = everything(problem, r, with_dropout("gelu", true, false), torch::kFloat32);
  torch::set_num_threads(2);
  const auto two = everything(problem, r, with_dropout("gelu", true, false), torch::kFloat32);
  torch::set_num_threads(threads);
  for (size_t i = 0; i < one.size(); ++i) {
    const auto scale = one[i].abs().max().item<double>();
    EXPECT_TRUE(torch::allclose(one[i], two[i], 1e-5, 1e-6 * scale)) << i;
  }
}

TEST(ExpertMlp, DropoutOfATokenIsTheSameInASplitBatch) {
  const auto whole = make_problem({{0, 1, 2, 3, 4, 5}, {1, 4}}, 6, 8, 12, torch::kFloat32);
  auto options = with_dropout("relu", true, false);
  options.noise.sequence_length = 3;
  const auto y = run(whole, whole.inputs, options);

  auto half = make_problem({{0, 1, 2}, {1}}, 3, 8, 12, torch::kFloat32);
  auto in = whole.inputs;
  in[0] = whole.inputs[0].slice(0, 3);
  in[1] = torch::stack(
      {whole.inputs[1][3], whole.inputs[1][4], whole.inputs[1][5], whole.inputs[1][7]});
  options.noise.first_sequence = 1;
  EXPECT_TRUE(torch::allclose(run(half, in, options), y.slice(0, 3), 1e-6, 1e-6));
}

TEST(ExpertMlp, ATokenHasOtherDropoutAtEachExpert) {
  auto problem = make_problem({{0, 1}, {0, 1}}, 2, 4, 64, torch::kFloat32);
  for (size_t i = 2; i < 6; ++i) problem.inputs[i][1].copy_(problem.inputs[i][0]);
  ExpertMlpOptions options;
  options.activation_dropout = 0.5;
  auto first = problem.inputs, second = problem.inputs;
  first[1] = torch::tensor({1.0F, 1.0F, 0.0F, 0.0F});
  second[1] = torch::tensor({0.0F, 0.0F, 1.0F, 1.0F});
  EXPECT_FALSE(torch::allclose(run(problem, first, options), run(problem, second, options)));
}

TEST(ExpertMlp, WeightsThatNeedNoGradientGetNoneAndChangeNoOther) {
  for (const auto type : {torch::kFloat32, torch::kFloat64}) {
    for (const auto& kind : kKinds) {
      SCOPED_TRACE(kind.name);
      const auto problem = make_problem({{0, 2}, {}, {1, 2, 3}}, 4, 6, 5, type, kind);
      const auto gradients = [&](const std::vector<size_t>& frozen) {
        std::vector<torch::Tensor> in;
        for (const auto& tensor : problem.inputs) in.push_back(tensor.clone().requires_grad_());
        for (const auto i : frozen) in[i].requires_grad_(false);
        run(problem, in, {}).square().sum().backward();
        std::vector<torch::Tensor> found;
        for (const auto& tensor : in) found.push_back(tensor.grad());
        return found;
      };
      const auto all = gradients({});
      for (size_t only = 2; only < problem.inputs.size(); ++only) {
        std::vector<size_t> frozen;
        for (size_t i = 2; i < problem.inputs.size(); ++i) {
          if (i != only) frozen.push_back(i);
        }
        const auto found = gradients(frozen);
        for (const auto i : frozen) EXPECT_FALSE(found[i].defined()) << i;
        for (const size_t i : {size_t{0}, size_t{1}, only})
          EXPECT_TRUE(torch::equal(found[i], all[i])) << i;
      }
    }
  }
}

TEST(ExpertMlp, MatricesInBfloat16AreTheSameNumbersInFloat32) {
  const torch::NoGradGuard no_grad;
  for_each_form(torch::kFloat32, [](const std::string& name, const Problem& problem,
                                    const std::string& activation) {
    SCOPED_TRACE(name);
    auto narrow = problem.inputs, wide = problem.inputs;
    for (size_t i = 2; i < narrow.size(); ++i) {
      if (narrow[i].dim() != 3) continue;
      narrow[i] = narrow[i].to(torch::kBFloat16);
      wide[i] = narrow[i].to(torch::kFloat32);
    }
    const auto options = with_dropout(activation, /*dropout=*/false, /*recompute=*/false);
    EXPECT_TRUE(torch::allclose(run(problem, narrow, options),
                                definition(problem, wide, activation), 1e-4, 1e-4));
    torch::Tensor sum_ED, expected_ED;
    const auto with_sums = [&](const std::vector<torch::Tensor>& in, torch::Tensor* sum) {
      expert_mlp(in[0], problem.token_A, in[1], problem.offset_E1, weights_of(problem, in), options,
                 sum);
    };
    with_sums(narrow, &sum_ED);
    with_sums(wide, &expected_ED);
    EXPECT_TRUE(torch::allclose(sum_ED, expected_ED, 1e-4, 1e-4));
  });
}

TEST(ExpertMlp, MatricesInBfloat16AreForEvaluation) {
  auto problem = make_problem({{0, 1}, {2}}, 3, 4, 5, torch::kFloat32, kGated);
  for (auto& input : problem.inputs)
    if (input.dim() == 3) input = input.to(torch::kBFloat16);
  EXPECT_THROW(run(problem, problem.inputs, with_dropout("silu", true, false)), Error);
  const auto options = with_dropout("silu", false, false);
  auto some_wide = problem.inputs;
  some_wide.back() = some_wide.back().to(torch::kFloat32);
  EXPECT_THROW(run(problem, some_wide, options), Error);
  problem.inputs[0].requires_grad_();
  EXPECT_THROW(run(problem, problem.inputs, options), Error);
}

TEST(ExpertMlp, ATokenWithoutAssignmentGetsZeros) {
  const auto problem = make_problem({{1}, {3}}, 4, 3, 5, torch::kFloat32);
  const auto y = run(problem, problem.inputs, {});
  EXPECT_EQ(y[0].abs().max().item<float>(), 0);
  EXPECT_EQ(y[2].abs().max().item<float>(), 0);
  EXPECT_GT(y[1].abs().max().item<float>(), 0);
}

TEST(ExpertMlp, PermutingTokensPermutesTheOutput) {
  const auto problem = make_problem({{0, 2, 3}, {1, 2}}, 4, 3, 5, torch::kFloat64);
  auto reversed = make_problem({{0, 1, 3}, {1, 2}}, 4, 3, 5, torch::kFloat64);
  auto in = problem.inputs;
  in[0] = problem.inputs[0].flip(0);
  const auto& w = problem.inputs[1];
  in[1] = torch::stack({w[2], w[1], w[0], w[4], w[3]});
  EXPECT_TRUE(torch::allclose(run(reversed, in, {}), run(problem, problem.inputs, {}).flip(0)));
}

TEST(ExpertMlp, BadInputsAreNamed) {
  auto problem = make_problem({{0, 2}, {1}}, 4, 3, 5, torch::kFloat32);
  const auto message = [&](const Problem& p, const ExpertMlpOptions& options) -> std::string {
    try {
      run(p, p.inputs, options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  ExpertMlpOptions options;
  options.activation = "softsign";
  EXPECT_NE(message(problem, options).find("softsign"), std::string::npos);
  options = {};
  options.dropout = 1.0;
  EXPECT_NE(message(problem, options).find("dropout is 1"), std::string::npos);
  auto bad = problem;
  bad.token_A = torch::tensor({0, 4, 1}, torch::kInt64);
  EXPECT_NE(message(bad, {}).find("token 4, but there are 4"), std::string::npos);
  bad.token_A = torch::tensor({2, 2, 1}, torch::kInt64);
  EXPECT_NE(message(bad, {}).find("ascend"), std::string::npos);
  bad = problem;
  bad.offset_E1 = torch::tensor({0, 2, 4}, torch::kInt64);
  EXPECT_NE(message(bad, {}).find("number of assignments, 3"), std::string::npos);
  bad = problem;
  bad.inputs[3] = torch::zeros({2, 4});
  EXPECT_NE(message(bad, {}).find("b1 [2,5]"), std::string::npos);
  bad = problem;
  bad.inputs[1] = bad.inputs[1].to(torch::kFloat64);
  EXPECT_NE(message(bad, {}).find("one floating type"), std::string::npos);
  bad = make_problem({{0, 2}, {1}}, 4, 3, 5, torch::kFloat32, kGated);
  bad.inputs[4] = torch::zeros({2, 4, 3});
  EXPECT_NE(message(bad, {}).find("w3 [2,5,3], not [2, 4, 3]"), std::string::npos);
  bad = problem;
  bad.inputs[4] = torch::Tensor();
  EXPECT_NE(message(bad, {}).find("w2 is undefined"), std::string::npos);
}

}  // namespace
}  // namespace evomoe
