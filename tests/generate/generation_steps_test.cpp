// The models behind beam_search(): with their caches they say what whole forward passes say.
#include <gtest/gtest.h>

#include "evomoe/generate/language_model_steps.h"
#include "evomoe/generate/translation_steps.h"
#include "tests/models/small_gpt.h"

namespace evomoe {
namespace {

using testing::make_gpt;
using testing::small_gpt;

constexpr int64_t kEnd = 2;

EncoderDecoder small_pair(const std::string& method) {
  EncoderDecoderOptions options;
  for (auto* half : {&options.encoder, &options.decoder}) {
    half->vocab_size = testing::kVocabulary;
    half->padding_index = testing::kPad;
    half->layers = 2;
    half->embed_dim = 16;
    half->ffn_dim = 32;
    half->heads = 2;
    half->max_positions = testing::kPositions;
    half->dropout = 0;
    if (!method.empty()) {
      half->moe_freq = 2;
      half->moe.router.method = method;
      half->moe.router.num_experts = 4;
      half->moe.router.get<CapacityOptions>().train_factor = 0;
      half->moe.router.get<CapacityOptions>().eval_fraction = -1;
    }
  }
  EncoderDecoder model(options);
  model->initialise(7);
  model->eval();
  return model;
}

/// Takes the steps of a search by hand: all rows, some of them twice or never.
template <typename Check>
void walk(NextTokens& steps, int64_t rows, Check check) {
  std::vector<std::vector<int64_t>> text(static_cast<size_t>(rows), {kEnd});
  std::vector<int64_t> sentence;
  for (int64_t i = 0; i < rows; ++i) sentence.push_back(i);
  const std::vector<std::vector<int64_t>> orders = {{0, 0, 1, 2}, {3, 1, 1}, {0, 2}, {1}};
  for (size_t step = 0; step <= orders.size(); ++step) {
    std::vector<int64_t> last;
    for (const auto& t : text) last.push_back(t.back());
    const auto x_NV = steps.next(torch::tensor(last, torch::kInt64));
    ASSERT_EQ(x_NV.size(0), static_cast<int64_t>(text.size()));
    for (size_t i = 0; i < text.size(); ++i)
      check(sentence[i], text[i], x_NV[static_cast<int64_t>(i)]);
    if (step == orders.size()) break;
    std::vector<std::vector<int64_t>> next;
    std::vector<int64_t> next_sentence;
    for (const auto from : orders[step]) {
      next.push_back(text[static_cast<size_t>(from)]);
      next.back().push_back(5 + static_cast<int64_t>(next.size()) + static_cast<int64_t>(step));
      next_sentence.push_back(sentence[static_cast<size_t>(from)]);
    }
    steps.reorder(torch::tensor(orders[step], torch::kInt64));
    text = next;
    sentence = next_sentence;
  }
}

TEST(LanguageModelSteps, AreWholeForwardPasses) {
  const torch::NoGradGuard no_grad;
  for (const std::string method : {"", "dts"}) {
    auto model = make_gpt(small_gpt(method));
    model->eval();
    LanguageModelSteps steps(model, ForwardContext());
    EXPECT_EQ(steps.max_positions(), testing::kPositions);
    walk(steps, 3, [&](int64_t, const std::vector<int64_t>& text, const torch::Tensor& x_V) {
      const auto logits =
          testing::logits_of(model, torch::tensor(text).unsqueeze(0), ForwardContext())[0][-1];
      EXPECT_TRUE(torch::allclose(x_V, torch::log_softmax(logits, 0), 1e-4, 1e-5));
    });
  }
}

TEST(TranslationSteps, AreWholeForwardPassesOverUnpaddedSources) {
  const torch::NoGradGuard no_grad;
  const std::vector<std::vector<int64_t>> source = {{9, 8, 7, 6, kEnd}, {11, 12, kEnd}, {30, kEnd}};
  for (const std::string method : {"", "switch", "dts"}) {
    auto model = small_pair(method);
    auto source_BS = torch::full({3, 5}, testing::kPad, torch::kInt64);
    for (int64_t i = 0; i < 3; ++i) {
      const auto& row = source[static_cast<size_t>(i)];
      source_BS[i].slice(0, 5 - static_cast<int64_t>(row.size())).copy_(torch::tensor(row));
    }
    TranslationSteps steps(model, source_BS, ForwardContext());
    walk(steps, 3,
         [&](int64_t sentence, const std::vector<int64_t>& text, const torch::Tensor& x_V) {
           ModelInput input;
           input.source_BS = torch::tensor(source[static_cast<size_t>(sentence)]).unsqueeze(0);
           input.previous_BU = torch::tensor(text).unsqueeze(0);
           const auto x_D = model->forward(input, ForwardContext()).x_BSD[0][-1];
           const auto expected_V = model->log_probability(x_D.unsqueeze(0))[0];
           EXPECT_TRUE(torch::allclose(x_V, expected_V, 1e-4, 1e-5)) << method;
         });
  }
}

}  // namespace
}  // namespace evomoe
