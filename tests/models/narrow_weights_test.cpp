#include "evomoe/models/narrow_weights.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>

#include "evomoe/models/encoder_decoder.h"
#include "tests/models/small_roberta.h"

namespace evomoe {
namespace {

using testing::small_gpt;

GptOptions modern(const std::string& method) {
  auto options = small_gpt(method);
  options.norm.kind = NormKind::kRmsNorm;
  options.positions = PositionKind::kRotary;
  options.gated = options.moe.gated = true;
  options.ffn_bias = options.moe.biases = false;
  options.attention_bias = "none";
  options.activation = "silu";
  options.kv_heads = 1;
  options.shared_expert_dim = method.empty() ? 0 : 24;
  return options;
}

GptOptions tied() {
  auto options = small_gpt();
  options.tie_embeddings = true;
  options.positions = PositionKind::kLearned;
  return options;
}

GptOptions adaptive() {
  auto options = small_gpt("dts");
  options.adaptive_input = {.cutoffs = {10, 20}};
  options.adaptive_softmax.bands = {.cutoffs = {10, 20}};
  return options;
}

RobertaOptions untied_roberta() {
  auto options = testing::small_roberta();
  options.untie_weights = true;
  return options;
}

EncoderDecoderOptions pair() {
  EncoderDecoderOptions options;
  options.decoder = small_gpt("switch");
  options.encoder = options.decoder;
  options.share_all_embeddings = true;
  return options;
}

template <typename Holder, typename Options>
std::function<ModelPtr()> maker(const Options& options) {
  return [options]() -> ModelPtr {
    Holder model(options);
    model->initialise(3);
    model->eval();
    return model.ptr();
  };
}

const std::map<std::string, std::function<ModelPtr()>> kModels = {
    {"dense", maker<Gpt>(small_gpt())},
    {"tied, learned positions", maker<Gpt>(tied())},
    {"switch", maker<Gpt>(small_gpt("switch"))},
    {"dts", maker<Gpt>(small_gpt("dts"))},
    {"modern", maker<Gpt>(modern(""))},
    {"modern mixture", maker<Gpt>(modern("topk"))},
    {"adaptive", maker<Gpt>(adaptive())},
    {"roberta", maker<Roberta>(testing::small_roberta())},
    {"roberta, untied", maker<Roberta>(untied_roberta())},
    {"encoder-decoder", maker<EncoderDecoder>(pair())},
};

ModelInput some_input(int64_t rows, int64_t columns) {
  return {.source_BS = testing::some_tokens(rows, columns),
          .previous_BU = testing::some_tokens(rows, columns, /*seed=*/7)};
}

torch::Tensor features(Model& model, const ModelInput& input) {
  return model.forward(input, ForwardContext()).x_BSD.flatten(0, 1);
}

TEST(NarrowWeights, TheModelIsTheOneWithTheSameRoundedNumbersInFloat32) {
  const torch::NoGradGuard no_grad;
  for (const auto& [name, make] : kModels) {
    SCOPED_TRACE(name);
    const auto narrow = make(), wide = make();
    keep_matrices_in_bfloat16(*narrow);
    int64_t rounded = 0;
    auto of_wide = wide->named_parameters();
    for (const auto& item : narrow->named_parameters()) {
      if (item.value().scalar_type() != torch::kBFloat16) continue;
      of_wide[item.key()].copy_(item.value());
      ++rounded;
    }
    ASSERT_GT(rounded, 0);
    // Few tokens, which read the weights as they are, and many.
    for (const int64_t columns : {2, 20}) {
      const auto input = some_input(2, columns);
      const auto target_N = testing::some_tokens(2, columns, /*seed=*/8).flatten();
      const auto x_ND = features(*narrow, input), expected_ND = features(*wide, input);
      ASSERT_EQ(x_ND.scalar_type(), torch::kFloat32);
      EXPECT_TRUE(torch::allclose(x_ND, expected_ND, 1e-4, 1e-4));
      EXPECT_TRUE(torch::allclose(narrow->log_probability(x_ND), wide->log_probability(expected_ND),
                                  1e-4, 1e-4));
      EXPECT_TRUE(torch::allclose(narrow->log_probability_of(x_ND, target_N),
                                  wide->log_probability_of(expected_ND, target_N), 1e-4, 1e-4));
      EXPECT_NEAR(narrow->token_loss(x_ND, target_N, {}).nll,
                  wide->token_loss(expected_ND, target_N, {}).nll, 1e-3);
    }
  }
}

TEST(NarrowWeights, RoutersNormsAndBiasesStayAndAllElseHasHalfTheMemory) {
  const auto model = kModels.at("dts")();
  keep_matrices_in_bfloat16(*model);
  for (const auto& item : model->named_parameters()) {
    const auto& name = item.key();
    const bool stays = name.ends_with(".bias") || name.find("norm") != std::string::npos ||
                       name.find(".gate.") != std::string::npos || name.ends_with(".b1") ||
                       name.ends_with(".b2");
    EXPECT_EQ(item.value().scalar_type(), stays ? torch::kFloat32 : torch::kBFloat16) << name;
    EXPECT_FALSE(item.value().requires_grad()) << name;
  }
}

}  // namespace
}  // namespace evomoe
