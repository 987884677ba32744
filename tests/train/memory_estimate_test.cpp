#include "evomoe/train/memory_estimate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/ops/linear_cross_entropy.h"
#include "evomoe/train/criterion.h"
#include "tests/train/tensor_memory.h"

namespace evomoe {
namespace {

constexpr int64_t kRows = 8, kColumns = 128, kPad = 1;

GptOptions dense() {
  GptOptions options;
  options.vocab_size = 500;
  options.padding_index = kPad;
  options.layers = 6;
  options.embed_dim = 64;
  options.ffn_dim = 256;
  options.heads = 4;
  options.max_positions = kColumns;
  options.activation = "gelu";
  options.dropout = 0.1;
  return options;
}

GptOptions mixture(const std::string& method) {
  auto options = dense();
  options.moe_freq = 2;
  options.moe.router.method = method;
  options.moe.router.num_experts = 8;
  return options;
}

/// What one update really takes, beside parameters and their gradients.
struct Measured {
  int64_t parameters = 0;
  int64_t kept = 0;  ///< when the forward pass is over
  int64_t peak = 0;
};

Measured measure(const GptOptions& options) {
  Gpt model(options);
  model->initialise(1);
  for (auto& [layer, moe] : model->moe_layers()) moe->router()->begin_update({});
  const auto token_BS = (torch::arange(kRows * kColumns) % 400 + 3).view({kRows, kColumns});
  const DeviceBatch batch{{token_BS}, token_BS.roll(1, 1), kRows, kRows * kColumns};
  const Criterion criterion(CriterionOptions(), kPad);
  SelfCommunicator communicator;
  ForwardContext context;
  context.training = true;
  context.communicator = &communicator;

  Measured measured;
  for (const auto& parameter : model->parameters())
    measured.parameters += static_cast<int64_t>(parameter.nbytes());
  // The gradients of the first update stay.
  for (int update = 0; update < 2; ++update) {
    const testing::TensorMemory memory;
    const auto output = model->forward(token_BS, context);
    measured.kept = memory.held();
    criterion(*model, output, batch, context).loss.backward();
    measured.peak = memory.peak();
  }
  return measured;
}

void expect_estimate(const std::string& name, const GptOptions& options) {
  const auto estimate = estimate_memory(options, {kRows * kColumns, kColumns, kRows * kColumns});
  const auto measured = measure(options);
  const auto ratio = [](int64_t a, int64_t b) {
    return static_cast<double>(a) / static_cast<double>(b);
  };
  EXPECT_EQ(estimate.gradients, measured.parameters) << name;
  EXPECT_EQ(estimate.moments, 2 * measured.parameters) << name;
  EXPECT_NEAR(ratio(estimate.activations, measured.kept), 1, 0.05)
      << name << ": estimated " << estimate.activations << ", kept " << measured.kept;
  // The workspace of the loss and that of a layer count together, although they are not held at
  // once: memory that is free in between is not given back.
  const auto T = kRows * kColumns, V = options.vocab_size;
  const auto of_loss = 4 * (logit_rows(T, V) * V + 2 * V * options.embed_dim);
  const auto most = estimate.activations + estimate.workspace;
  EXPECT_GE(ratio(most, measured.peak), 0.97) << name << ": " << most << " " << measured.peak;
  EXPECT_LE(ratio(most - of_loss, measured.peak), 1.15)
      << name << ": " << most << " - " << of_loss << " " << measured.peak;
}

TEST(MemoryEstimate, IsWhatADenseModelTakes) {
  expect_estimate("gelu", dense());
  auto options = dense();
  options.activation = "relu";
  options.activation_dropout = 0.1;
  options.learned_positions = true;
  options.tie_embeddings = true;
  expect_estimate("relu", options);
  options = dense();
  options.attention_dropout = 0.1;
  expect_estimate("attention dropout", options);
  options = dense();
  options.moe_freq = 2;
  options.dense_ffn_dim_of_moe_layers = 512;
  expect_estimate("pseudo MoE", options);
}

TEST(MemoryEstimate, IsWhatAMixtureTakesWithAllItsAssignments) {
  expect_estimate("dts", mixture("dts"));
  expect_estimate("dense", mixture("dense"));
  expect_estimate("switch", mixture("switch"));
  auto options = mixture("topk");
  options.moe.router.train_capacity_factor = 0;
  expect_estimate("topk", options);
}

TEST(MemoryEstimate, IsWhatRecomputationTakes) {
  auto options = mixture("dts");
  options.moe.recompute_experts = true;
  expect_estimate("experts", options);
  options.checkpoint_activations = true;
  expect_estimate("layers and experts", options);
  options.moe.recompute_experts = false;
  expect_estimate("layers", options);
  options = dense();
  options.checkpoint_activations = true;
  expect_estimate("dense layers", options);
}

TEST(MemoryEstimate, PaddedBatchesCountInTheExperts) {
  const int64_t tokens = kRows * kColumns;
  const auto plain = estimate_memory(mixture("dts"), {tokens, kColumns, tokens});
  const auto padded = estimate_memory(mixture("dts"), {tokens, kColumns, 2 * tokens});
  EXPECT_GE(padded.activations - plain.activations, 4 * 3 * 8 * tokens * 256);
}

}  // namespace
}  // namespace evomoe
