// The composition of the CUDA kernels against expert_mlp() on the CPU, whose own tests hold it to
// its definition. Without a LibTorch for CUDA the kernels' sources run on the CPU
// (tests/cuda_emulation).
#include "evomoe/ops/expert_mlp_cuda.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "evomoe/ops/expert_mlp.h"
#include "tests/kernels/kernel_form.h"

namespace evomoe {
namespace {

using torch::Tensor;

struct Case {
  const char* name;
  std::vector<int64_t> rows;  ///< of each expert
  int64_t tokens, model_dim, hidden_dim;
  double activation_dropout = 0, dropout = 0;
  bool biases = true;
  const char* activation = "gelu";
  bool gated = false;
};

const Case kCases[] = {
    {"an idle expert and shared tokens", {7, 0, 9, 1}, 9, 8, 24},
    {"odd sizes", {3, 5}, 6, 5, 7},
    {"dropout", {7, 0, 9, 1}, 9, 8, 24, 0.3, 0.2},
    {"dropout of odd sizes", {3, 5}, 6, 5, 7, 0.3, 0.2},
    {"one expert that has all", {11}, 11, 16, 8, 0.0, 0.2},
    {"no assignment", {0, 0}, 4, 8, 8},
    {"no biases", {7, 0, 9, 1}, 9, 8, 24, 0.0, 0.0, false},
    {"no biases, dropout, silu", {7, 0, 9, 1}, 9, 8, 24, 0.3, 0.2, false, "silu"},
    {"gated", {7, 0, 9, 1}, 9, 8, 24, 0.0, 0.0, false, "silu", true},
    {"gated, of odd sizes, with biases and dropout", {3, 5}, 6, 5, 7, 0.3, 0.2, true, "gelu", true},
    {"gated, no assignment", {0, 0}, 4, 8, 8, 0.0, 0.0, false, "silu", true},
};

ExpertMlpOptions options_of(const Case& c) {
  ExpertMlpOptions options;
  options.activation = c.activation;
  options.activation_dropout = c.activation_dropout;
  options.dropout = c.dropout;
  options.noise.seed = 3;
  options.noise.layer = 2;
  options.noise.sequence_length = 4;
  return options;
}

/// The experts of a case on the CPU, in float32.
CudaExperts make_experts(const Case& c) {
  torch::manual_seed(11);
  const auto E = static_cast<int64_t>(c.rows.size());
  CudaExperts experts;
  std::vector<Tensor> token = {torch::empty({0}, torch::kInt64)};
  experts.offset_E1 = {0};
  for (const auto rows : c.rows) {
    token.push_back(std::get<0>(torch::randperm(c.tokens).slice(0, 0, rows).sort()));
    experts.offset_E1.push_back(experts.offset_E1.back() + rows);
  }
  experts.token_A = torch::cat(token);
  experts.x_TD = torch::randn({c.tokens, c.model_dim});
  experts.weight_A = torch::rand({experts.token_A.size(0)});
  for_each_weight(
      [](Tensor& weight, const std::vector<int64_t>& shape) {
        if (!shape.empty()) weight = torch::randn(shape) * 0.3;
      },
      experts.weights,
      expert_shapes({.experts = E,
                     .model_dim = c.model_dim,
                     .hidden_dim = c.hidden_dim,
                     .gated = c.gated,
                     .biases = c.biases}));
  const auto options = options_of(c);
  experts.activation = parse_activation(c.activation);
  experts.activation_dropout = c.activation_dropout;
  experts.dropout = c.dropout;
  experts.activation_key = options.noise.at(2, NoiseSite::kExpertActivationDropout);
  experts.output_key = options.noise.at(2, NoiseSite::kExpertOutputDropout);
  return experts;
}

CudaExperts converted(CudaExperts experts, torch::Device device, torch::ScalarType type) {
  const auto moved = [&](const Tensor& tensor) { return tensor.to(device, type); };
  experts.x_TD = moved(experts.x_TD);
  experts.weight_A = moved(experts.weight_A);
  experts.weights = of_each_weight(experts.weights, moved);
  experts.token_A = experts.token_A.to(device);
  return experts;
}

/// What the CPU's operation gives: y, then the gradients of x, weight, and the experts' weights,
/// undefined where they have none.
std::vector<Tensor> expected(const Case& c, const CudaExperts& experts, const Tensor& grad_y) {
  const auto leaf = [](const Tensor& tensor) {
    return tensor.to(torch::kFloat32).clone().requires_grad_(true);
  };
  const auto x_TD = leaf(experts.x_TD), weight_A = leaf(experts.weight_A);
  const auto weights = of_each_weight(experts.weights, leaf);
  const auto y = expert_mlp(x_TD, experts.token_A, weight_A, torch::tensor(experts.offset_E1),
                            weights, options_of(c));
  y.backward(grad_y);
  std::vector<Tensor> result = {y.detach(), x_TD.grad(), weight_A.grad()};
  for_each_weight(
      [&](const Tensor& weight) { result.push_back(weight.defined() ? weight.grad() : Tensor()); },
      weights);
  return result;
}

const char* const kNames[] = {"y",       "grad x",  "grad weight", "grad w1",
                              "grad b1", "grad w2", "grad b2",     "grad w3"};

void expect_close(const Case& c, const std::vector<Tensor>& wanted, const Tensor& y,
                  const ExpertMlpGradients& grad, double tolerance) {
  std::vector<Tensor> found = {y, grad.x_TD, grad.weight_A};
  for_each_weight([&](const Tensor& weight) { found.push_back(weight); }, grad.weights);
  for (size_t i = 0; i < wanted.size(); ++i) {
    ASSERT_EQ(found[i].defined(), wanted[i].defined()) << c.name << ": " << kNames[i];
    if (!wanted[i].defined()) continue;
    ASSERT_EQ(found[i].sizes(), wanted[i].sizes()) << c.name << ": " << kNames[i];
    if (wanted[i].numel() == 0) continue;
    const auto error = (found[i].cpu().to(torch::kFloat32) - wanted[i]).abs().max().item<double>();
    const auto scale = std::max(1e-3, wanted[i].abs().max().item<double>());
    EXPECT_LE(error, tolerance * scale) << c.name << ": " << kNames[i];
  }
}

class CudaExpertMlp : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!kernels::cuda_form_can_run()) GTEST_SKIP() << "LibTorch sees no CUDA device";
  }
};

TEST_F(CudaExpertMlp, IsTheCpusOperationWithKeptAndWithRecomputedPreActivations) {
  for (const auto& c : kCases) {
    const auto plain = make_experts(c);
    const auto experts = converted(plain, kernels::cuda_form_device(), torch::kFloat32);
    const auto grad_y = torch::randn_like(plain.x_TD);
    const auto wanted = expected(c, plain, grad_y);
    for (const bool keep : {false, true}) {
      const auto output = cuda_experts_forward(experts, keep);
      const auto grad =
          cuda_experts_backward(experts, output.hidden, grad_y.to(kernels::cuda_form_device()));
      expect_close(c, wanted, output.y_TD, grad, 1e-5);
    }
  }
}

TEST_F(CudaExpertMlp, InBFloat16GroupedProductsAndALoopAgreeWithFloat32) {
  for (const auto& c : kCases) {
    const auto device = kernels::cuda_form_device();
    auto experts = converted(make_experts(c), device, torch::kBFloat16);
    const auto grad_y = torch::randn({c.tokens, c.model_dim}).to(torch::kBFloat16);
    const auto wanted =
        expected(c, converted(experts, torch::kCPU, torch::kFloat32), grad_y.to(torch::kFloat32));
    for (const bool grouped : {false, true}) {
      // What the grouped product takes (can_group_products).
      if (grouped && (c.model_dim % 8 != 0 || c.hidden_dim % 8 != 0)) continue;
      experts.grouped = grouped;
      const auto output = cuda_experts_forward(experts, /*keep_hidden=*/true);
      const auto grad = cuda_experts_backward(experts, output.hidden, grad_y.to(device));
      expect_close(c, wanted, output.y_TD, grad, 2e-2);
    }
  }
}

TEST_F(CudaExpertMlp, MakesGradientsOfWeightsWhereTheyAreWantedOrNone) {
  for (const auto& c : kCases) {
    const auto device = kernels::cuda_form_device();
    auto experts = converted(make_experts(c), device, torch::kBFloat16);
    const auto grad_y = torch::randn({c.tokens, c.model_dim}).to(device, torch::kBFloat16);
    for (const bool grouped : {false, true}) {
      if (grouped && (c.model_dim % 8 != 0 || c.hidden_dim % 8 != 0)) continue;
      SCOPED_TRACE(std::string(c.name) + (grouped ? ", grouped" : ""));
      experts.grouped = grouped;
      const auto hidden = cuda_experts_forward(experts, /*keep_hidden=*/true).hidden;
      const auto alone = cuda_experts_backward(experts, hidden, grad_y);
      // Parts of larger tensors, as the halves of gate_up_proj are.
      const auto into = of_each_weight(experts.weights, [](const Tensor& weight) {
        const auto whole = torch::cat({weight, weight}, /*dim=*/1).fill_(7);
        return whole.slice(1, weight.size(1));
      });
      const auto frozen = cuda_experts_backward(experts, hidden, grad_y, into, false);
      EXPECT_TRUE(torch::equal(frozen.x_TD, alone.x_TD));
      EXPECT_TRUE(torch::equal(frozen.weight_A, alone.weight_A));
      for_each_weight(
          [](const Tensor& none, const Tensor& place) {
            EXPECT_FALSE(none.defined());
            if (place.defined()) EXPECT_TRUE((place == 7).all().item<bool>());
          },
          frozen.weights, into);
      const auto placed = cuda_experts_backward(experts, hidden, grad_y, into);
      for_each_weight(
          [](const Tensor& gradient, const Tensor& place, const Tensor& wanted) {
            ASSERT_EQ(gradient.defined(), wanted.defined());
            if (!wanted.defined()) return;
            EXPECT_TRUE(gradient.is_same(place));
            EXPECT_TRUE(torch::equal(gradient, wanted));
          },
          placed.weights, into, alone.weights);
    }
  }
}

}  // namespace
}  // namespace evomoe
