#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "evomoe/routing/capacity.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/train/trainer.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/ranks.h"

namespace evomoe {
namespace {

using testing::on_ranks;
using Ranks = std::shared_ptr<Communicator>;

constexpr int64_t kSymbolsOfModel = 20, kTokensOfRow = 6, kMicroBatches = 4;

/// A model of two MoE layers.
TrainOptions options_of_model(const std::string& router, int64_t experts) {
  TrainOptions options;
  options.task.tokens_per_sample = kTokensOfRow;
  options.model.arch = "transformer_lm_gpt2_tiny";
  options.model.decoder.layers = 2;
  options.model.decoder.embed_dim = 8;
  options.model.decoder.ffn_embed_dim = 16;
  options.model.decoder.attention_heads = 2;
  options.model.dropout = 0.1;
  options.model.activation_dropout = 0.1;
  options.moe.moe_freq = 1;
  options.moe.moe_expert_count = experts;
  options.moe.moe_router = router;
  options.criterion.criterion = "moe_cross_entropy";
  options.optimization.lr = {0.01};
  options.optimization.clip_norm = 0.5;
  return options;
}

/// One of the micro-batches of an update, with 1 to 3 rows.
Batch micro_batch(int64_t update, int64_t index) {
  Batch batch;
  batch.rows = 1 + (update + index) % 3;
  batch.columns = batch.target_columns = kTokensOfRow;
  const auto seed = update * kMicroBatches + index;
  for (int64_t i = 0; i < batch.rows * kTokensOfRow; ++i) {
    batch.source.push_back(4 + (seed * 7 + i * i) % 16);
    batch.target.push_back(4 + (seed * 5 + 3 * i) % 16);
  }
  batch.first_sequence = 3 * index;
  for (int64_t row = 0; row < batch.rows; ++row) {
    batch.ids.push_back(batch.first_sequence + row);
    batch.lengths.push_back(kTokensOfRow);
  }
  batch.tokens = batch.rows * kTokensOfRow;
  return batch;
}

/// Those of an update that are this rank's.
std::vector<Batch> share_of(int64_t update, int rank, int ranks) {
  std::vector<Batch> share;
  for (int64_t index = rank; index < kMicroBatches; index += ranks)
    share.push_back(micro_batch(update, index));
  // A rank that comes short.
  while (static_cast<int64_t>(share.size()) * ranks < kMicroBatches) {
    share.push_back(micro_batch(update, 0));
    share.back().stands_in = true;
    share.back().ids.clear();
    share.back().tokens = 0;
  }
  return share;
}

struct Trained {
  std::vector<UpdateResult> updates;
  TensorMap model, optimizer;
  TensorPieces pieces;
};

Trained train(const TrainOptions& options, int64_t updates, RankGroups groups) {
  const int rank = groups.all->rank(), ranks = groups.all->size();
  Trainer trainer(options, Vocabulary::of_one(kSymbolsOfModel, Dictionary::kPad), torch::kCPU,
                  std::move(groups));
  Trained trained;
  for (int64_t update = 0; update < updates; ++update)
    trained.updates.push_back(trainer.update(share_of(update, rank, ranks), /*epoch=*/1));
  trained.model = trainer.model_state();
  trained.optimizer = trainer.optimizer_state();
  trained.pieces = trainer.pieces();
  return trained;
}

void expect_close(const TensorMap& own, const TensorMap& whole, const TensorPieces& pieces) {
  ASSERT_EQ(own.size(), whole.size());
  for (const auto& [name, tensor] : own) {
    // Its gradient is zero but for rounding, which Adam turns into steps.
    if (name.find("k_proj.bias") != std::string::npos) continue;
    auto expected = whole.at(name);
    if (const auto piece = pieces.find(name); piece != pieces.end()) {
      EXPECT_EQ(expected.sizes(), torch::IntArrayRef(piece->second.shape)) << name;
      expected =
          expected.flatten().slice(0, piece->second.begin, piece->second.end).view(tensor.sizes());
    }
    ASSERT_EQ(tensor.sizes(), expected.sizes()) << name;
    EXPECT_TRUE(torch::allclose(tensor, expected, 1e-3, 1e-5)) << name;
  }
}

struct Layout {
  int ranks;
  int64_t expert_ranks;
};

void PrintTo(const Layout& layout, std::ostream* out) {
  *out << layout.expert_ranks << " of " << layout.ranks << " ranks";
}

struct TrainingCase {
  std::string router;
  int64_t experts;
  bool evolves = false;
  bool checkpoints_activations = false;
  std::string optimizer = "adam";
  int64_t shared_dim = 0, expert_dim = 0;  ///< of --moe-shared-expert-hidden-dim and its sibling
  bool kmeans = false;                     ///< of the routers at the spawn
};

void PrintTo(const TrainingCase& test, std::ostream* out) {
  *out << test.router << ", " << test.experts << " experts, " << test.optimizer;
}

class ExpertParallelTraining : public ::testing::TestWithParam<std::tuple<Layout, TrainingCase>> {};

TEST_P(ExpertParallelTraining, TrainsAsOneProcessDoes) {
  EVOMOE_NEEDS_RANKS();
  const auto& [layout, test] = GetParam();
  auto options = options_of_model(test.router, test.experts);
  if (test.evolves) {
    auto& evolution = options.evolution;
    evolution.shared_expert_updates = 2;
    evolution.use_gumbel_softmax = true;
    evolution.gumbel_decay_scheduler = "Linear";
    evolution.gumbel_decay_factor = 4;
    evolution.switch_to_hard_gumbel_softmax = 3;
    evolution.diversify.moments = "scale";
    if (test.kmeans) evolution.evolution_router_init = "kmeans";
  }
  options.model.checkpoint_activations = test.checkpoints_activations;
  options.optimizer.optimizer = test.optimizer;
  options.moe.moe_shared_expert_hidden_dim = test.shared_dim;
  options.moe.moe_expert_hidden_dim = test.expert_dim;
  constexpr int64_t kUpdates = 7;
  const auto expected = train(options, kUpdates, one_rank());
  const auto found = on_ranks(layout.ranks, [&, layout = layout](const Ranks& ranks) {
    return train(options, kUpdates, make_rank_groups(ranks, layout.expert_ranks));
  });
  for (int rank = 0; rank < layout.ranks; ++rank) {
    SCOPED_TRACE(rank);
    const auto& own = found[static_cast<size_t>(rank)];
    for (size_t i = 0; i < expected.updates.size(); ++i) {
      SCOPED_TRACE(i);
      const auto &result = own.updates[i], &of_one = expected.updates[i];
      EXPECT_NEAR(result.sums.loss, of_one.sums.loss, 1e-5 * of_one.sums.loss);
      EXPECT_EQ(result.sums.sample_size, of_one.sums.sample_size);
      EXPECT_NEAR(result.gradient_norm, of_one.gradient_norm, 1e-4 * of_one.gradient_norm);
      EXPECT_DOUBLE_EQ(result.flops, of_one.flops);
      for (size_t layer = 0; layer < of_one.routers.size(); ++layer) {
        EXPECT_TRUE(
            torch::equal(result.routers[layer].second.load_E, of_one.routers[layer].second.load_E));
        EXPECT_EQ(result.routers[layer].second.tokens, of_one.routers[layer].second.tokens);
      }
    }
    if (rank % layout.expert_ranks == rank) {  // the others save no piece
      expect_close(own.model, expected.model, own.pieces);
      expect_close(own.optimizer, expected.optimizer, own.pieces);
      EXPECT_EQ(own.pieces.empty(), layout.expert_ranks == 1);
    } else {
      EXPECT_TRUE(own.pieces.empty());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    , ExpertParallelTraining,
    ::testing::Combine(::testing::Values(Layout{2, 1}, Layout{2, 2}, Layout{3, 3}, Layout{4, 2},
                                         Layout{4, 4}),
                       ::testing::Values(TrainingCase{"switch", 4}, TrainingCase{"gshard", 5},
                                         TrainingCase{"dts", 6, /*evolves=*/true},
                                         TrainingCase{"topk", 4, false,
                                                      /*checkpoints_activations=*/true},
                                         TrainingCase{"switch", 4, true, false, "adafactor"},
                                         TrainingCase{"switch", 5, false, false, "muon"},
                                         TrainingCase{"densemixer", 5},
                                         TrainingCase{"default-moe", 6, false,
                                                      /*checkpoints_activations=*/true},
                                         TrainingCase{"topk", 6, true, false, "adam",
                                                      /*shared_dim=*/12, /*expert_dim=*/4,
                                                      /*kmeans=*/true})));

TEST(GrowingExperts, AreThoseOfOneProcessOnRanksThatHoldAllOfThem) {
  EVOMOE_NEEDS_RANKS();
  auto options = options_of_model("topk", 8);
  options.routers.get<CapacityOptions>().train_factor = 0;
  options.evolution.shared_expert_updates = 1;
  options.evolution.growth_experts = {2, 4};
  options.evolution.growth_updates = {2, 1};
  options.evolution.evolution_router_init = "kmeans";
  constexpr int64_t kUpdates = 6;
  const auto expected = train(options, kUpdates, one_rank());
  ASSERT_EQ(expected.updates.back().routers[0].second.load_E.size(0), 8);
  for (const int64_t stage : {0, 1, 3}) {
    SCOPED_TRACE(stage);
    options.distributed.zero_stage = stage;
    const auto found = on_ranks(2, [&](const Ranks& ranks) {
      return train(options, kUpdates, make_rank_groups(ranks, 1));
    });
    for (const auto& own : found) {
      for (size_t i = 0; i < expected.updates.size(); ++i) {
        SCOPED_TRACE(i);
        const auto &result = own.updates[i], &of_one = expected.updates[i];
        EXPECT_EQ(result.grown_from, of_one.grown_from);
        EXPECT_NEAR(result.sums.loss, of_one.sums.loss, 1e-5 * of_one.sums.loss);
        EXPECT_TRUE(torch::equal(result.routers[1].second.load_E, of_one.routers[1].second.load_E));
      }
    }
  }
}

TEST(ExpertParallel, ARankWhoseLossIsNotFiniteEndsAllWithThatReason) {
  EVOMOE_NEEDS_RANKS();
  const auto errors = on_ranks(2, [&](const Ranks& ranks) -> std::string {
    auto options = options_of_model("switch", 4);
    Trainer trainer(options, Vocabulary::of_one(kSymbolsOfModel, Dictionary::kPad), torch::kCPU,
                    make_rank_groups(ranks, 2));
    if (ranks->rank() == 1) {
      const torch::NoGradGuard no_grad;
      for (auto& parameter : trainer.model().named_parameters()) {
        if (parameter.key().ends_with("experts.w2"))
          parameter.value().fill_(std::numeric_limits<float>::quiet_NaN());
      }
    }
    try {
      trainer.update(share_of(0, ranks->rank(), 2), 1);
    } catch (const DivergenceError& error) {
      return error.what();
    }
    return "";
  });
  for (const auto& error : errors) EXPECT_THAT(error, ::testing::HasSubstr("update 1"));
}

TEST(ExpertParallel, AnUpdateWithoutFiniteLossIsSkippedByAllRanks) {
  EVOMOE_NEEDS_RANKS();
  const auto applied = on_ranks(2, [&](const Ranks& ranks) {
    auto options = options_of_model("switch", 4);
    options.optimization.on_non_finite = "skip";
    options.criterion.moe_gate_loss_wt = std::numeric_limits<double>::infinity();
    Trainer trainer(options, Vocabulary::of_one(kSymbolsOfModel, Dictionary::kPad), torch::kCPU,
                    make_rank_groups(ranks, 2));
    return trainer.update(share_of(0, ranks->rank(), 2), 1).applied;
  });
  EXPECT_THAT(applied, ::testing::Each(false));
}

}  // namespace
}  // namespace evomoe
