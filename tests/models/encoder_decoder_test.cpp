#include "evomoe/models/encoder_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/parallel/communicator.h"
#include "tests/models/small_gpt.h"

namespace evomoe {
namespace {

using testing::kPad;
using testing::kVocabulary;

EncoderDecoderOptions small_pair(const std::string& method = "", bool norm_first = false) {
  EncoderDecoderOptions options;
  options.decoder = testing::small_gpt(method);
  options.decoder.norm_first = norm_first;
  options.decoder.final_norm = norm_first;
  options.decoder.layers = 2;
  options.encoder = options.decoder;
  options.share_all_embeddings = true;
  return options;
}

EncoderDecoder make_pair_model(const EncoderDecoderOptions& options) {
  EncoderDecoder model(options);
  model->initialise(3);
  return model;
}

/// Sources of 5 and 3 tokens, padded on the left.
ModelInput some_input() {
  ModelInput input;
  input.source_BS = testing::some_tokens(2, 5);
  input.source_BS[1].slice(0, 0, 2).fill_(kPad);
  input.source_padding_BS = input.source_BS.eq(kPad);
  input.previous_BU = testing::some_tokens(2, 4, /*seed=*/9);
  return input;
}

TEST(EncoderDecoder, ParametersHaveTheReferencesNamesAndASharedTableIsThereOnce) {
  const EncoderDecoder model(small_pair("switch"));
  const auto names = model->named_parameters().keys();
  const auto count = [&](const std::string& part) {
    return std::count_if(names.begin(), names.end(), [&](const std::string& name) {
      return name.find(part) != std::string::npos;
    });
  };
  EXPECT_EQ(names.front(), "encoder.embed_tokens.weight");
  EXPECT_EQ(count("embed_tokens"), 1);
  EXPECT_EQ(count("output_projection"), 0);
  EXPECT_EQ(count("decoder.layers.1.encoder_attn.k_proj.weight"), 1);
  EXPECT_EQ(count("decoder.layers.1.encoder_attn_layer_norm.bias"), 1);
  EXPECT_EQ(count("encoder.layers.1.moe_layer.gate.wg.weight"), 1);
  EXPECT_EQ(count("encoder.layers.1.encoder_attn"), 0);
  ASSERT_EQ(model->moe_layers().size(), 2U);
  EXPECT_EQ(model->moe_layers()[0].first, 1);
  EXPECT_EQ(model->moe_layers()[1].first, 3) << "the decoder's layers are behind the encoder's";
}

TEST(EncoderDecoder, PaddingOfTheSourceChangesNothing) {
  for (const bool norm_first : {false, true}) {
    auto model = make_pair_model(small_pair("", norm_first));
    const torch::NoGradGuard no_grad;
    const auto input = some_input();
    const auto both = model->forward(input, ForwardContext());
    ModelInput alone;
    alone.source_BS = input.source_BS.slice(0, 1).slice(1, 2);
    alone.previous_BU = input.previous_BU.slice(0, 1);
    const auto one = model->forward(alone, ForwardContext());
    EXPECT_TRUE(torch::allclose(both.x_BSD[1], one.x_BSD[0], 1e-5, 1e-5));
  }
}

TEST(EncoderDecoder, TheDecoderSeesNoLaterTokenAndAllOfTheSource) {
  auto model = make_pair_model(small_pair());
  const torch::NoGradGuard no_grad;
  const auto input = some_input();
  const auto before = model->forward(input, ForwardContext()).x_BSD;
  auto later = input;
  later.previous_BU = input.previous_BU.clone();
  later.previous_BU[0][3] = 4 + (input.previous_BU[0][3].item<int64_t>() + 1) % 30;
  const auto after = model->forward(later, ForwardContext()).x_BSD;
  EXPECT_TRUE(torch::equal(before.slice(1, 0, 3), after.slice(1, 0, 3)));
  EXPECT_FALSE(torch::equal(before[0][3], after[0][3]));
  auto source = input;
  source.source_BS = input.source_BS.clone();
  source.source_BS[0][4] = 4 + (input.source_BS[0][4].item<int64_t>() + 1) % 30;
  EXPECT_FALSE(torch::equal(before[0][0], model->forward(source, ForwardContext()).x_BSD[0][0]));
}

TEST(EncoderDecoder, TokenByTokenWithACacheIsTheWholeSequence) {
  auto model = make_pair_model(small_pair("dense"));
  const torch::NoGradGuard no_grad;
  const auto input = some_input();
  const auto whole = model->forward(input, ForwardContext()).x_BSD;
  ForwardContext context;
  context.padding_BS = input.source_padding_BS;
  const Memory memory{model->encode(input.source_BS, context).x_BSD, input.source_padding_BS};
  KeyValueCache cache;
  context.padding_BS = torch::Tensor();
  context.cache = &cache;
  for (int64_t u = 0; u < 4; ++u) {
    const auto step = model->decode(input.previous_BU.slice(1, u, u + 1), memory, context).x_BSD;
    EXPECT_TRUE(torch::allclose(step.squeeze(1), whole.select(1, u), 1e-4, 1e-5)) << u;
  }
}

TEST(EncoderDecoder, ACacheThatIsReorderedContinuesTheOtherSequences) {
  auto model = make_pair_model(small_pair());
  const torch::NoGradGuard no_grad;
  const auto input = some_input();
  ForwardContext context;
  context.padding_BS = input.source_padding_BS;
  const Memory memory{model->encode(input.source_BS, context).x_BSD, input.source_padding_BS};
  const auto order = torch::tensor({1, 0, 1}, torch::kInt64);
  KeyValueCache cache;
  context.padding_BS = torch::Tensor();
  context.cache = &cache;
  model->decode(input.previous_BU.slice(1, 0, 3), memory, context);
  cache.select(order);
  const Memory reordered{memory.x_BSD.index_select(0, order),
                         memory.padding_BS.index_select(0, order)};
  const auto last = input.previous_BU.slice(1, 3).index_select(0, order);
  const auto step = model->decode(last, reordered, context).x_BSD.squeeze(1);
  const auto whole = model->forward(input, ForwardContext()).x_BSD.select(1, 3);
  EXPECT_TRUE(torch::allclose(step, whole.index_select(0, order), 1e-4, 1e-5));
}

TEST(EncoderDecoder, CheckpointedActivationsHaveTheSameGradients) {
  SelfCommunicator communicator;
  const auto gradients = [&](bool checkpoint) {
    auto options = small_pair("switch");
    for (auto* stack : {&options.encoder, &options.decoder}) {
      stack->checkpoint_activations = checkpoint;
      stack->dropout = stack->attention_dropout = 0.2;
    }
    auto model = make_pair_model(options);
    ForwardContext context;
    context.training = true;
    context.schedule.temperature = 0.5;
    context.communicator = &communicator;
    const auto input = some_input();
    const auto output = model->forward(input, context);
    auto loss = model
                    ->token_loss(output.x_BSD.flatten(0, 1), input.previous_BU.flatten(),
                                 {.ignore_index = kPad, .label_smoothing = 0.1})
                    .loss;
    for (const auto& layer : output.losses) {
      for (const auto& part : layer) loss = loss + part.value.sum();
    }
    loss.backward();
    return model->named_parameters();
  };
  const auto plain = gradients(false), again = gradients(true);
  for (const auto& item : plain) {
    EXPECT_TRUE(torch::allclose(item.value().grad(), again[item.key()].grad(), 1e-4, 1e-5))
        << item.key();
  }
}

TEST(EncoderDecoder, ASharedTableHasTheGradientsOfAllItsUses) {
  const auto total = [](bool shared) {
    auto options = small_pair();
    options.share_all_embeddings = shared;
    EncoderDecoder model(options);
    model->initialise(3);
    const torch::AutoGradMode grad(true);
    auto parameters = model->named_parameters();
    if (!shared) {
      const torch::NoGradGuard no_grad;
      const auto table = parameters["encoder.embed_tokens.weight"];
      parameters["decoder.embed_tokens.weight"].copy_(table);
      parameters["decoder.output_projection.weight"].copy_(table);
    }
    const auto input = some_input();
    const auto output = model->forward(input, ForwardContext());
    model->token_loss(output.x_BSD.flatten(0, 1), input.previous_BU.flatten(), {}).loss.backward();
    auto sum = parameters["encoder.embed_tokens.weight"].grad().clone();
    if (!shared) {
      sum += parameters["decoder.embed_tokens.weight"].grad();
      sum += parameters["decoder.output_projection.weight"].grad();
    }
    return sum;
  };
  EXPECT_TRUE(torch::allclose(total(true), total(false), 1e-4, 1e-5));
}

TEST(EncoderDecoder, WidthsAndDictionariesThatDoNotGoTogetherAreNamed) {
  auto options = small_pair();
  options.decoder.embed_dim = 32;
  EXPECT_THAT([&] { EncoderDecoder{options}; },
              ::testing::ThrowsMessage<UsageError>(
                  ::testing::HasSubstr("--encoder-embed-dim 16 and --decoder-embed-dim 32")));
  options = small_pair();
  options.encoder.vocab_size = kVocabulary + 1;
  EXPECT_THAT([&] { EncoderDecoder{options}; },
              ::testing::ThrowsMessage<UsageError>(::testing::HasSubstr("--joined-dictionary")));
}

}  // namespace
}  // namespace evomoe
