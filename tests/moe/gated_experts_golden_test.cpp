// Gated experts as PyTorch computes them: gated_experts.json, which make_gated_experts.py writes.
#include <gtest/gtest.h>

#include "evomoe/moe/expert_bank.h"
#include "tests/routing/golden_case.h"

namespace evomoe {
namespace {

using testing::json_tensor;

void expect_recorded(const std::string& what, const torch::Tensor& given,
                     const nlohmann::json& recorded) {
  const auto expected = json_tensor(recorded).to(torch::kFloat64);
  ASSERT_EQ(given.sizes(), expected.sizes()) << what;
  const double scale = std::max(1.0, expected.abs().max().item<double>());
  EXPECT_LT((given.to(torch::kFloat64) - expected).abs().max().item<double>(), 1e-6 * scale)
      << what;
}

TEST(GatedExpertsGolden, OutputsAndAllGradientsAreThoseOfPyTorch) {
  const auto file = testing::read_json(testing::golden_dir() / "gated_experts.json");
  ASSERT_EQ(file["cases"].size(), 3U);
  for (const auto& entry : file["cases"]) {
    for (const bool recompute : {false, true}) {
      SCOPED_TRACE(entry["name"].get<std::string>() + (recompute ? ", recomputed" : ""));
      const auto& weights = entry["weights"];
      const auto w1_EHD = json_tensor(weights["w1"]);
      ExpertBank bank(ExpertBankOptions{.num_experts = file["experts"],
                                        .model_dim = w1_EHD.size(2),
                                        .hidden_dim = w1_EHD.size(1),
                                        .activation = entry["activation"],
                                        .gated = true,
                                        .biases = entry["biases"],
                                        .recompute = recompute});
      auto parameters = bank->named_parameters();
      ASSERT_EQ(parameters.size(), weights.size());
      {
        const torch::NoGradGuard no_grad;
        for (const auto& [name, value] : weights.items())
          parameters[name].copy_(json_tensor(value));
      }
      const auto x = json_tensor(entry["x"]).to(torch::kFloat32).requires_grad_(true);
      const auto weight = json_tensor(entry["weight"]).to(torch::kFloat32).requires_grad_(true);
      const auto chosen_TK = testing::json_matrix(entry["chosen"]).to(torch::kInt64);
      const auto weight_TE =
          torch::zeros({x.size(0), bank->num_experts()}).scatter(1, chosen_TK, weight);
      const auto y =
          bank->forward(x, Routing::from_mask(weight_TE.gt(0), weight_TE), {}, /*training=*/true);
      y.backward(json_tensor(entry["upstream"]).to(torch::kFloat32));
      expect_recorded("y", y, entry["y"]);
      expect_recorded("grad_x", x.grad(), entry["grad_x"]);
      expect_recorded("grad_weight", weight.grad(), entry["grad_weight"]);
      for (const auto& [name, value] : entry["gradients"].items())
        expect_recorded("gradient of " + name, parameters[name].grad(), value);
    }
  }
}

}  // namespace
}  // namespace evomoe
