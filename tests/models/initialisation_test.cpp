#include "evomoe/models/initialisation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/models/small_gpt.h"

namespace evomoe {
namespace {

void expect_uniform(const torch::Tensor& tensor, double bound, const std::string& name) {
  EXPECT_LE(tensor.abs().max().item<double>(), bound) << name;
  EXPECT_GT(tensor.abs().max().item<double>(), 0.8 * bound) << name;
  EXPECT_NEAR(tensor.mean().item<double>(), 0, 0.35 * bound) << name;
}

void expect_normal(const torch::Tensor& tensor, double std, const std::string& name) {
  EXPECT_NEAR(tensor.std().item<double>(), std, 0.1 * std) << name;
  EXPECT_NEAR(tensor.mean().item<double>(), 0, 0.1 * std) << name;
  EXPECT_GT(tensor.abs().max().item<double>(), 2.5 * std) << name;
}

TEST(Initialisation, ATensorsValuesDependOnSeedAndNameAlone) {
  auto a = torch::empty({5, 7}), b = torch::empty({5, 7}), c = torch::empty({5, 7});
  init_uniform(a, 0.5, 1, "x");
  init_normal(c, 1, 9, "between");
  init_uniform(b, 0.5, 1, "x");
  EXPECT_TRUE(torch::equal(a, b));
  init_uniform(b, 0.5, 2, "x");
  EXPECT_FALSE(torch::equal(a, b));
  init_uniform(b, 0.5, 1, "y");
  EXPECT_FALSE(torch::equal(a, b));
}

TEST(Initialisation, EveryParameterHasTheReferencesDistribution) {
  auto options = testing::small_gpt("dts");
  options.vocab_size = 400;
  options.embed_dim = 64;
  options.ffn_dim = 128;
  options.positions = PositionKind::kLearned;
  options.max_positions = 100;
  auto model = testing::make_gpt(options);
  const auto p = model->named_parameters();
  const double root = 1 / std::sqrt(64.0);
  for (const auto* name : {"decoder.embed_tokens.weight", "decoder.embed_positions.weight"}) {
    expect_normal(p[name].slice(0, 2), root, name);
    EXPECT_EQ(p[name][testing::kPad].abs().max().item<double>(), 0) << name;
  }
  expect_normal(p["decoder.output_projection.weight"], root, "output_projection");
  const double xavier = std::sqrt(6.0 / 128);
  for (const std::string part : {"q_proj", "k_proj", "v_proj", "out_proj"}) {
    const auto name = "decoder.layers.0.self_attn." + part;
    expect_uniform(p[name + ".weight"], part == "out_proj" ? xavier : xavier / std::sqrt(2.0),
                   name);
    if (part == "out_proj") {
      EXPECT_EQ(p[name + ".bias"].abs().max().item<double>(), 0);
    } else {
      expect_uniform(p[name + ".bias"], root, name);
    }
  }
  const double hidden = 1 / std::sqrt(128.0);
  for (const auto& [name, bound] : {std::pair<std::string, double>{"0.fc1.weight", root},
                                    {"0.fc1.bias", root},
                                    {"0.fc2.weight", hidden},
                                    {"0.fc2.bias", hidden},
                                    {"1.moe_layer.gate.wg.weight", root},
                                    {"1.moe_layer.experts.w1", root},
                                    {"1.moe_layer.experts.b1", root},
                                    {"1.moe_layer.experts.w2", hidden},
                                    {"1.moe_layer.experts.b2", hidden}}) {
    expect_uniform(p["decoder.layers." + name], bound, name);
  }
  EXPECT_TRUE(torch::equal(p["decoder.layer_norm.weight"], torch::ones({64})));
  EXPECT_FALSE(torch::equal(p["decoder.layers.0.fc1.weight"], p["decoder.layers.2.fc1.weight"]));
}

TEST(Initialisation, TheSeedAloneDecides) {
  auto first = testing::make_gpt(testing::small_gpt("dts")),
       second = testing::make_gpt(testing::small_gpt("dts")),
       other = testing::make_gpt(testing::small_gpt("dts"), 4);
  for (const auto& item : first->named_parameters()) {
    EXPECT_TRUE(torch::equal(item.value(), second->named_parameters()[item.key()])) << item.key();
  }
  EXPECT_FALSE(torch::equal(first->output_weight(), other->output_weight()));
}

}  // namespace
}  // namespace evomoe
