#include "evomoe/train/load_into.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;

TEST(LoadInto, CopiesIntoTheTensorsThemselves) {
  const auto a = torch::zeros({2}).requires_grad_(), b = torch::zeros({}, torch::kInt64);
  load_into({{"a", a}, {"b", b}}, {{"a", torch::ones({2})}, {"b", torch::tensor(int64_t{3})}},
            "checkpoint x", "do this");
  EXPECT_TRUE(torch::equal(a, torch::ones({2})));
  EXPECT_EQ(b.item<int64_t>(), 3);
  EXPECT_TRUE(a.is_leaf());
}

TEST(LoadInto, ListsAllProblemsAtOnceAndCopiesNothing) {
  const auto a = torch::zeros({2}), good = torch::zeros({2});
  const auto load = [&] {
    load_into({{"good", good}, {"a", a}, {"b", torch::zeros({3})}, {"gone", torch::zeros({1})}},
              {{"good", torch::ones({2})},
               {"a", torch::ones({2, 1})},
               {"b", torch::ones({3}, torch::kInt32)},
               {"new", torch::ones({1})}},
              "checkpoint x", "do this");
  };
  EXPECT_THAT(load,
              ThrowsMessage<Error>(AllOf(
                  HasSubstr("checkpoint x does not fit the model"), HasSubstr("1 missing: gone"),
                  HasSubstr("1 unknown: new"), HasSubstr("2 of another shape or type"),
                  HasSubstr("a (is Float [2, 1], the model has Float [2])"),
                  HasSubstr("b (is Int [3], the model has Float [3])"), HasSubstr("; do this"))));
  EXPECT_TRUE(torch::equal(good, torch::zeros({2})));
}

TEST(LoadInto, ConvertsFloatingTypes) {
  for (const auto type : {torch::kFloat64, torch::kFloat32, torch::kFloat16, torch::kBFloat16}) {
    const auto a = torch::zeros({2}), half = torch::zeros({2}, torch::kFloat16);
    const auto weights = torch::tensor({0.5, -2.0}).to(type);
    load_into({{"a", a}, {"half", half}}, {{"a", weights}, {"half", weights}}, "x", "");
    EXPECT_TRUE(a.equal(torch::tensor({0.5F, -2.0F}))) << type;
    EXPECT_TRUE(half.equal(a.to(torch::kFloat16))) << type;
  }
}

TEST(LoadInto, IgnoresWhatAModelMakesItself) {
  const auto a = torch::zeros({2});
  load_into({{"a", a}},
            {{"a", torch::ones({2})},
             {"decoder.version", torch::tensor({3.0F})},
             {"encoder.version", torch::tensor({3.0F})},
             {"more", torch::zeros({0, 3})},
             {"decoder.embed_positions._float_tensor", torch::zeros({1})}},
            "x", "");
  EXPECT_TRUE(a.equal(torch::ones({2})));
}

TEST(LoadInto, TakesATiedEmbeddingUnderEachOfItsNames) {
  const std::string encoder = "encoder.embed_tokens.weight",
                    decoder = "decoder.embed_tokens.weight",
                    output = "decoder.output_projection.weight", head = "encoder.lm_head.weight",
                    sentence = "encoder.sentence_encoder.embed_tokens.weight";
  const auto weights = torch::arange(6.0F).view({3, 2});
  // Of tied tensors, save_model of safetensors keeps one name.
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases = {
      {decoder, {decoder, output}},
      {decoder, {output}},
      {encoder, {encoder, decoder, output}},
      {encoder, {decoder}},
      {encoder, {decoder, output}},
      {sentence, {sentence, head}},
      {sentence, {head}}};
  for (const auto& [own, names] : cases) {
    TensorMap source;
    for (const auto& name : names) source[name] = weights.clone();
    const auto embedding = torch::zeros({3, 2});
    load_into({{own, embedding}}, source, "x", "");
    EXPECT_TRUE(embedding.equal(weights)) << own;
    // Of several names, the values must be the same.
    if (names.size() == 1) continue;
    source[names.back()] = weights + 1;
    embedding.zero_();
    EXPECT_THAT(([&, &own = own] {
                  load_into({{own, embedding}}, source, "x", "");
                }),
                ThrowsMessage<Error>(AllOf(HasSubstr("1 different from what this model ties it to"),
                                           HasSubstr(own))));
    EXPECT_EQ(embedding.sum().item<float>(), 0);
  }
}

TEST(LoadInto, AnUntiedModelNeedsBothOfItsTables) {
  const std::string decoder = "decoder.embed_tokens.weight",
                    output = "decoder.output_projection.weight";
  const auto a = torch::zeros({3, 2}), b = torch::zeros({3, 2});
  EXPECT_THAT(([&] {
                load_into({{decoder, a}, {output, b}}, {{decoder, torch::ones({3, 2})}}, "x", "");
              }),
              ThrowsMessage<Error>(HasSubstr("1 missing: decoder.output_projection.weight")));
  EXPECT_TRUE(fits_into({{decoder, a}, {output, b}},
                        {{decoder, torch::ones({3, 2})}, {output, torch::zeros({3, 2})}}));
}

TEST(LoadInto, ATiedTableIsThatOfItsHalf) {
  const std::string encoder = "encoder.embed_tokens.weight",
                    decoder = "decoder.embed_tokens.weight",
                    output = "decoder.output_projection.weight";
  const auto weights = torch::arange(6.0F).view({3, 2});
  for (const auto& other : {weights + 1, weights}) {
    const auto a = torch::zeros({3, 2}), b = torch::zeros({3, 2});
    load_into({{encoder, a}, {decoder, b}}, {{encoder, weights}, {output, other}}, "x", "");
    EXPECT_TRUE(a.equal(weights));
    EXPECT_TRUE(b.equal(other));
  }
  // The encoder's table is not the decoder's output, even where the encoder has no other.
  const auto a = torch::zeros({3, 2}), b = torch::zeros({3, 2});
  EXPECT_THAT(
      ([&] {
        load_into({{encoder, a}, {decoder, b}}, {{decoder, weights}, {output, weights + 1}}, "x",
                  "");
      }),
      ThrowsMessage<Error>(
          AllOf(HasSubstr("1 missing: encoder.embed_tokens.weight"),
                HasSubstr("decoder.output_projection.weight (from decoder.embed_tokens.weight)"))));
}

TEST(LoadInto, NamesTheFirstTenOfMany) {
  TensorMap many;
  for (int i = 10; i < 40; ++i) many[fmt::format("t{}", i)] = torch::ones({1});
  EXPECT_THAT(([&] { load_into({}, many, "x", "do this"); }),
              ThrowsMessage<Error>(AllOf(HasSubstr("30 unknown: t10"), HasSubstr("t19, ..."),
                                         Not(HasSubstr("t20")))));
}

}  // namespace
}  // namespace evomoe
