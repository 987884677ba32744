// The loss of answers: what the criterion makes of batches of prompts with answers.
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/data/prompt_answer_dataset.h"
#include "evomoe/routing/capacity.h"
#include "evomoe/train/batches.h"
#include "evomoe/train/contexts.h"
#include "evomoe/train/model_family.h"
#include "evomoe/train/task.h"
#include "evomoe/train/validation.h"

namespace evomoe {
namespace {

constexpr int64_t kAnswerPadding = 1, kAnswerVocabulary = 30, kExamples = 11;

/// Prompts of 0 to 6 and answers of 1 to 5 tokens, made up.
std::shared_ptr<const PromptAnswerDataset> some_examples() {
  std::vector<std::vector<int64_t>> prompts, answers;
  for (int64_t i = 0; i < kExamples; ++i) {
    prompts.emplace_back();
    answers.emplace_back();
    for (int64_t t = 0; t < (i * 3) % 7; ++t) prompts.back().push_back(4 + (i * 5 + t * 7) % 26);
    for (int64_t t = 0; t < 1 + i % 5; ++t) answers.back().push_back(4 + (i * 11 + t * 3) % 26);
    prompts.back().push_back(2);
    answers.back().push_back(2);
  }
  return std::make_shared<PromptAnswerDataset>(std::make_shared<MemoryStream>(prompts, "prompts"),
                                               std::make_shared<MemoryStream>(answers, "answers"),
                                               PromptAnswerDatasetOptions{.tokens_per_sample = 24});
}

TrainOptions answering_options(bool experts) {
  TrainOptions options;
  options.task.task = "supervised_finetuning";
  options.task.tokens_per_sample = 24;
  auto& decoder = options.model.decoder;
  decoder.layers = 2;
  decoder.embed_dim = 16;
  decoder.ffn_embed_dim = 32;
  decoder.attention_heads = 2;
  options.model.dropout = 0.0;
  if (experts) {
    options.moe.moe_freq = 1;
    options.moe.moe_expert_count = 4;
    options.moe.moe_router = "topk";
    options.routers.get<CapacityOptions>().train_factor = 0;
    options.routers.get<CapacityOptions>().eval_fraction = -1;
  }
  return options;
}

ModelPtr answering_model(const TrainOptions& options) {
  auto model = make_model(options, Vocabulary::of_one(kAnswerVocabulary, kAnswerPadding),
                          /*shared_expert=*/false);
  model->initialise(7);
  return model;
}

std::vector<int64_t> first_items(int64_t count) {
  std::vector<int64_t> items(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) items[static_cast<size_t>(i)] = i;
  return items;
}

TEST(SupervisedFinetuning, TheLossIsTheCrossEntropyOfTheAnswersTokensAndTheirEnds) {
  const auto data = some_examples();
  for (const bool experts : {false, true}) {
    const auto options = answering_options(experts);
    auto model = answering_model(options);
    const auto sums = evaluate_batch(*model, Criterion(options.criterion, kAnswerPadding), options,
                                     data->collate(first_items(kExamples)), torch::kCPU,
                                     /*as_trained=*/false);
    // Each example by itself, each of its tokens by hand.
    double expected = 0;
    int64_t tokens = 0;
    const torch::NoGradGuard no_grad;
    for (int64_t i = 0; i < kExamples; ++i) {
      auto row = data->prompt(i);
      const auto answer = data->answer(i);
      row.insert(row.begin(), 2);
      const auto first = row.size() - 1;
      row.insert(row.end(), answer.begin(), answer.end() - 1);
      ModelInput input;
      input.source_BS = torch::tensor(row, torch::kInt64).unsqueeze(0);
      auto context = evaluation_context(options, /*as_trained=*/false);
      const auto x_SD = model->forward(input, context).x_BSD[0];
      const auto log_probability = model->log_probability(x_SD);
      for (size_t t = 0; t < answer.size(); ++t) {
        expected -= log_probability[static_cast<int64_t>(first + t)][answer[t]].item<double>();
        ++tokens;
      }
    }
    EXPECT_NEAR(sums.loss, expected, 1e-4) << experts;
    EXPECT_EQ(sums.sample_size, tokens);
    EXPECT_EQ(sums.tokens, tokens);
    EXPECT_EQ(sums.predicted, tokens);
    EXPECT_EQ(sums.sequences, kExamples);
  }
}

/// Loss and gradients of a training batch, without dropout.
std::pair<double, std::vector<torch::Tensor>> trained(const TrainOptions& options,
                                                      const Batch& batch) {
  auto model = answering_model(options);
  model->train();
  const auto on_device = to_device(batch, kAnswerPadding, torch::kCPU);
  ForwardContext context;
  context.training = true;
  const auto output = model->forward(on_device.input, context);
  const Criterion criterion(options.criterion, kAnswerPadding);
  const auto result = criterion(*model, output, on_device, context);
  result.loss.backward();
  std::vector<torch::Tensor> gradients;
  for (const auto& parameter : model->parameters()) gradients.push_back(parameter.grad());
  return {result.sums.loss, gradients};
}

TEST(SupervisedFinetuning, PackedRowsHaveTheLossAndGradientsOfPaddedOnes) {
  const auto examples = some_examples();
  const PackedExamplesDataset packed(examples, /*row_tokens=*/24);
  ASSERT_LT(packed.size(), kExamples / 2);
  for (const bool experts : {false, true}) {
    for (const bool attention_dropout : {false, true}) {
      for (const bool learned : {false, true}) {
        auto options = answering_options(experts);
        options.model.decoder.learned_pos = learned;
        // The attention that draws dropout by hand, with so little of it that it takes nothing.
        options.model.attention_dropout = attention_dropout ? 1e-9 : 0;
        const auto [loss, gradients] = trained(options, examples->collate(first_items(kExamples)));
        const auto [packed_loss, packed_gradients] =
            trained(options, packed.collate(first_items(packed.size())));
        EXPECT_NEAR(packed_loss, loss, 1e-4 * loss);
        for (size_t i = 0; i < gradients.size(); ++i) {
          if (!gradients[i].defined()) continue;
          EXPECT_TRUE(torch::allclose(packed_gradients[i], gradients[i], 1e-4, 1e-4)) << i;
        }
      }
    }
  }
}

TEST(SupervisedFinetuning, ATokenOfAnotherExampleInTheRowChangesNothing) {
  const auto options = answering_options(/*experts=*/false);
  auto model = answering_model(options);
  const torch::NoGradGuard no_grad;
  ModelInput input;
  input.source_BS = torch::tensor({{2, 5, 6, 7, 2, 8, 9, 1}}, torch::kInt64);
  input.source_padding_BS = input.source_BS.eq(kAnswerPadding);
  input.segment_BS = torch::tensor({{1, 1, 1, 1, 2, 2, 2, 0}}, torch::kInt64);
  const auto before = model->forward(input, {}).x_BSD.clone();
  EXPECT_TRUE(before.isfinite().all().item<bool>());
  input.source_BS = torch::tensor({{2, 15, 16, 17, 2, 8, 9, 1}}, torch::kInt64);
  const auto after = model->forward(input, {}).x_BSD;
  EXPECT_TRUE(torch::equal(before.slice(1, 4, 7), after.slice(1, 4, 7)));
  EXPECT_FALSE(torch::equal(before.slice(1, 1, 4), after.slice(1, 1, 4)));
  // Nor its place in the row.
  input.source_BS = torch::tensor({{2, 8, 9}}, torch::kInt64);
  input.source_padding_BS = torch::Tensor();
  input.segment_BS = torch::Tensor();
  EXPECT_TRUE(torch::allclose(model->forward(input, {}).x_BSD, before.slice(1, 4, 7), 1e-5, 1e-5));
}

TEST(Tasks, EachTaskAndFamilyIsFoundByItsNameAndTheyGoTogether) {
  for (const auto& task : tasks()) {
    const auto& declaration = task->declaration();
    EXPECT_EQ(&find_task(declaration.name), task.get());
    EXPECT_NO_THROW(find_family(declaration.family)) << declaration.name;
  }
  for (const auto& family : families()) {
    const auto& declaration = family->declaration();
    EXPECT_EQ(&find_family(declaration.name), family.get());
    EXPECT_EQ(find_task(declaration.task).declaration().family, declaration.name);
    EXPECT_FALSE(declaration.architectures.empty());
  }
  EXPECT_THROW(find_task("speech"), UsageError);
}

}  // namespace
}  // namespace evomoe
