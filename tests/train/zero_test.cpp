// Runs of several ranks that divide optimiser state, gradients and parameters: the same numbers as
// one process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "evomoe/base/error.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/train/trainer.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/ranks.h"

namespace evomoe {
namespace {

using testing::on_ranks;

constexpr int64_t kSymbolsOfZero = 23;  // odd sizes: no parameter divides evenly by 2, 3 and 4

/// dense, switch or dts (two updates of a shared expert, then 3 experts).
TrainOptions options_of_zero(const std::string& model, int64_t stage) {
  TrainOptions options;
  options.task.tokens_per_sample = 8;
  options.model.arch = "transformer_lm_gpt2_tiny";
  options.model.decoder.layers = 3;
  options.model.decoder.embed_dim = 10;
  options.model.decoder.ffn_embed_dim = 13;
  options.model.decoder.attention_heads = 2;
  options.model.dropout = 0.1;
  if (model != "dense") {
    options.moe.moe_freq = 2;
    options.moe.moe_expert_count = 3;
    options.moe.moe_router = model;
    options.criterion.criterion = "moe_cross_entropy";
  }
  if (model == "dts") {
    options.evolution.shared_expert_updates = 2;
    options.evolution.use_gumbel_softmax = true;
    options.evolution.diversify.operation = "noise";
    options.evolution.switch_to_hard_gumbel_softmax = 2;
  }
  options.optimization.lr = {0.01};
  options.optimization.clip_norm = 0.5;
  options.dataset.batch_size = 2;
  options.distributed.zero_stage = stage;
  return options;
}

/// Micro-batch `number` of the run, of one or two sequences.
Batch batch_of_zero(int64_t number) {
  const int64_t rows = 1 + number % 2;
  Batch batch;
  batch.rows = rows;
  batch.columns = batch.target_columns = 8;
  for (int64_t i = 0; i < rows * 8; ++i) {
    batch.source.push_back(4 + (number * 7 + i * i) % 19);
    batch.target.push_back(4 + (number * 5 + 3 * i) % 19);
  }
  for (int64_t row = 0; row < rows; ++row) {
    batch.ids.push_back(number * 2 + row);
    batch.lengths.push_back(8);
  }
  batch.tokens = rows * 8;
  batch.first_sequence = 2 * number;
  return batch;
}

Trainer trainer_of_zero(const TrainOptions& options, const std::shared_ptr<Communicator>& ranks) {
  return Trainer(options, Vocabulary::of_one(kSymbolsOfZero, Dictionary::kPad), torch::kCPU,
                 make_rank_groups(ranks, 1));
}

/// What a run has shown.
struct Shown {
  std::vector<UpdateResult> updates;
  TensorMap model, optimizer;
  std::map<std::string, TensorPiece> pieces;
};

constexpr int kUpdates = 5;
constexpr int64_t kMicroBatches = 12;  ///< of an update, on all ranks together

/// Each update goes through the same micro-batches, whatever the number of ranks and update_freq.
Shown train(Trainer& trainer, int64_t rank, int64_t ranks, int64_t micro_batches) {
  Shown shown;
  for (int update = 0; update < kUpdates; ++update) {
    std::vector<Batch> own;
    for (int64_t i = 0; i < micro_batches; ++i)
      own.push_back(batch_of_zero(update * kMicroBatches + i * ranks + rank));
    shown.updates.push_back(trainer.update(own, 1));
  }
  for (const auto& [name, tensor] : trainer.model_state()) shown.model[name] = tensor.clone();
  for (const auto& [name, tensor] : trainer.optimizer_state())
    shown.optimizer[name] = tensor.clone();
  shown.pieces = trainer.pieces();
  return shown;
}

/// A tensor of which each rank has a piece.
torch::Tensor put_together(const std::vector<Shown>& ranks, const std::string& name,
                           TensorMap Shown::*state) {
  const auto& first = ranks.front();
  const auto piece = first.pieces.find(name);
  if (piece == first.pieces.end()) return (first.*state).at(name);
  std::vector<torch::Tensor> parts;
  int64_t at = 0;
  for (const auto& rank : ranks) {
    const auto& own = rank.pieces.at(name);
    EXPECT_EQ(own.shape, piece->second.shape);
    EXPECT_EQ(own.begin, at) << name;
    at = own.end;
    parts.push_back((rank.*state).at(name));
    EXPECT_EQ(parts.back().sizes(), (std::vector<int64_t>{own.end - own.begin})) << name;
  }
  return torch::cat(parts).view(piece->second.shape);
}

void expect_near(double found, double expected, double tolerance, const char* what) {
  EXPECT_NEAR(found, expected, tolerance * std::max(1.0, std::abs(expected))) << what;
}

void expect_same_update(const UpdateResult& found, const UpdateResult& expected) {
  EXPECT_EQ(found.applied, expected.applied);
  EXPECT_EQ(found.spawned, expected.spawned);
  EXPECT_EQ(found.sums.sample_size, expected.sums.sample_size);
  expect_near(found.sums.loss, expected.sums.loss, 1e-5, "loss");
  expect_near(found.sums.gate, expected.sums.gate, 1e-5, "gate loss");
  expect_near(found.gradient_norm, expected.gradient_norm, 1e-5, "gradient norm");
  ASSERT_EQ(found.routers.size(), expected.routers.size());
  for (size_t i = 0; i < found.routers.size(); ++i) {
    const auto &ours = found.routers[i].second, &theirs = expected.routers[i].second;
    EXPECT_EQ(ours.tokens, theirs.tokens);
    EXPECT_EQ(ours.assignments, theirs.assignments);
    EXPECT_TRUE(torch::equal(ours.load_E, theirs.load_E));
    EXPECT_TRUE(torch::allclose(ours.entropy_sum, theirs.entropy_sum, 1e-5));
  }
}

void expect_same_tensors(const std::vector<Shown>& ranks, const Shown& whole,
                         TensorMap Shown::*state) {
  for (const auto& [name, expected] : whole.*state) {
    const auto found = put_together(ranks, name, state);
    ASSERT_EQ(found.sizes(), expected.sizes()) << name;
    const auto scale = std::max(1e-6, expected.to(torch::kDouble).abs().max().item<double>());
    EXPECT_LT((found - expected).to(torch::kDouble).abs().max().item<double>() / scale, 1e-4)
        << name;
  }
}

void expect_same(const std::vector<Shown>& ranks, const Shown& whole) {
  for (const auto& rank : ranks) {
    for (size_t i = 0; i < whole.updates.size(); ++i) {
      SCOPED_TRACE(i);
      expect_same_update(rank.updates[i], whole.updates[i]);
    }
    EXPECT_EQ(rank.model.size(), whole.model.size());
    EXPECT_EQ(rank.optimizer.size(), whole.optimizer.size());
  }
  expect_same_tensors(ranks, whole, &Shown::model);
  expect_same_tensors(ranks, whole, &Shown::optimizer);
}

std::vector<Shown> train_on_ranks(const TrainOptions& options, int ranks, int64_t micro_batches) {
  return on_ranks(ranks, [&](const std::shared_ptr<Communicator>& communicator) {
    auto trainer = trainer_of_zero(options, communicator);
    return train(trainer, communicator->rank(), ranks, micro_batches);
  });
}

Shown train_alone(const TrainOptions& options, int64_t micro_batches) {
  auto trainer = trainer_of_zero(options, std::make_shared<SelfCommunicator>());
  return train(trainer, 0, 1, micro_batches);
}

class Zero : public ::testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { EVOMOE_NEEDS_RANKS(); }
  static std::vector<std::string> models() { return {"dense", "switch", "dts"}; }
};

INSTANTIATE_TEST_SUITE_P(Stage, Zero, ::testing::Values(0, 1, 2, 3));

TEST_P(Zero, RanksTrainAsOneProcessDoes) {
  for (const auto& model : models()) {
    for (const int64_t ranks : {2, 3, 4}) {
      for (const int64_t micro_batches : {1, 2}) {
        SCOPED_TRACE(fmt::format("{}, {} ranks, {} micro-batches", model, ranks, micro_batches));
        const auto options = options_of_zero(model, GetParam());
        expect_same(train_on_ranks(options, static_cast<int>(ranks), micro_batches),
                    train_alone(options, ranks * micro_batches));
      }
    }
  }
}

TEST_P(Zero, TwoEqualRunsGiveTheSameBits) {
  const auto options = options_of_zero("dts", GetParam());
  const auto a = train_on_ranks(options, 3, 2), b = train_on_ranks(options, 3, 2);
  for (size_t rank = 0; rank < 3; ++rank) {
    for (const auto state : {&Shown::model, &Shown::optimizer}) {
      for (const auto& [name, tensor] : a[rank].*state)
        EXPECT_TRUE(torch::equal(tensor, (b[rank].*state).at(name))) << name;
    }
    EXPECT_EQ(a[rank].updates.back().gradient_norm, b[rank].updates.back().gradient_norm);
    EXPECT_EQ(a[rank].updates.back().gradient_norm, a[0].updates.back().gradient_norm);
  }
}

}  // namespace
}  // namespace evomoe
