#include "evomoe/train/rank_sums.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "evomoe/routing/registry.h"
#include "evomoe/routing/switch_router.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/train/trainer.h"
#include "evomoe/train/validation.h"
#include "tests/testing/ranks.h"

namespace evomoe {
namespace {

using testing::on_ranks;
using Ranks = std::shared_ptr<Communicator>;

constexpr int64_t kSymbolsOfRanks = 20;

/// One layer with four experts; three of them get no token of some micro-batches.
TrainOptions options_of_ranks() {
  TrainOptions options;
  options.task.tokens_per_sample = 8;
  options.model.arch = "transformer_lm_gpt2_tiny";
  options.model.decoder.layers = 1;
  options.model.decoder.embed_dim = 8;
  options.model.decoder.ffn_embed_dim = 16;
  options.model.decoder.attention_heads = 2;
  options.moe.moe_freq = 1;
  options.moe.moe_expert_count = 4;
  options.moe.moe_router = "switch";
  options.criterion.criterion = "moe_cross_entropy";
  options.optimization.lr = {0.01};
  options.optimization.clip_norm = 0.1;
  options.dataset.batch_size = 3;
  return options;
}

/// `rows` sequences, of other tokens for each `seed`.
Batch batch_of_rank(int64_t seed, int64_t rows, int64_t first_sequence) {
  Batch batch;
  batch.rows = rows;
  batch.columns = batch.target_columns = 8;
  for (int64_t i = 0; i < rows * 8; ++i) {
    batch.source.push_back(4 + (seed * 7 + i * i) % 16);
    batch.target.push_back(4 + (seed * 5 + 3 * i) % 16);
  }
  for (int64_t row = 0; row < rows; ++row) {
    batch.ids.push_back(first_sequence + row);
    batch.lengths.push_back(8);
  }
  batch.tokens = rows * 8;
  batch.first_sequence = first_sequence;
  return batch;
}

Trainer trainer_with(const Ranks& ranks) {
  return Trainer(options_of_ranks(), Vocabulary::of_one(kSymbolsOfRanks, Dictionary::kPad),
                 torch::kCPU, make_rank_groups(ranks, 1));
}

TensorMap gradients_of(const Trainer& trainer) {
  TensorMap gradients;
  for (const auto& parameter : trainer.parameters())
    gradients[parameter.name] = parameter.tensor.grad().clone();
  return gradients;
}

void expect_same_sums(const LossSums& found, const LossSums& expected) {
  EXPECT_EQ(found.sample_size, expected.sample_size);
  EXPECT_EQ(found.tokens, expected.tokens);
  EXPECT_EQ(found.sequences, expected.sequences);
  EXPECT_EQ(found.batches, expected.batches);
  EXPECT_EQ(found.predicted, expected.predicted);
  EXPECT_NEAR(found.loss, expected.loss, 1e-5 * expected.loss);
  EXPECT_NEAR(found.gate, expected.gate, 1e-5 * expected.gate);
  ASSERT_EQ(found.metrics.size(), expected.metrics.size());
  for (size_t i = 0; i < found.metrics.size(); ++i) {
    const auto value = expected.metrics[i].second;
    EXPECT_NEAR(found.metrics[i].second, value, 1e-5 * std::max(1.0, value));
  }
}

void expect_same_statistics(const RouterStats& found, const RouterStats& expected) {
  EXPECT_EQ(found.tokens, expected.tokens);
  EXPECT_EQ(found.assignments, expected.assignments);
  EXPECT_TRUE(torch::equal(found.load_E, expected.load_E));
  EXPECT_TRUE(torch::equal(found.active_E1, expected.active_E1));
  EXPECT_TRUE(torch::equal(found.dropped, expected.dropped));
  EXPECT_TRUE(torch::equal(found.non_argmax, expected.non_argmax));
  EXPECT_TRUE(torch::allclose(found.entropy_sum, expected.entropy_sum));
  ASSERT_EQ(found.reference.size(), expected.reference.size());
  for (size_t i = 0; i < found.reference.size(); ++i) {
    EXPECT_EQ(found.reference[i].first, expected.reference[i].first);
    EXPECT_TRUE(torch::allclose(found.reference[i].second, expected.reference[i].second));
  }
}

/// One item of four tokens.
class FourTokens : public Dataset {
 public:
  int64_t size() const override { return 1; }
  int64_t item_size(int64_t) const override { return 4; }
  std::vector<int64_t> ordered_indices(int64_t) const override { return {0}; }
  Batch collate(std::span<const int64_t> items) const override {
    Batch batch;
    batch.rows = static_cast<int64_t>(items.size());
    batch.ids.assign(items.begin(), items.end());
    return batch;
  }
  int64_t tokens() const override { return 4; }
  std::string name() const override { return "four tokens"; }
};

/// Remembers how many tokens the statistics of an update had.
class RememberingRouter : public SwitchRouter {
 public:
  RememberingRouter(RouterShape shape, CapacityOptions capacity, GumbelGateOptions gumbel_gates)
      : SwitchRouter(std::move(shape), std::move(capacity), gumbel_gates) {
    seen_ = register_buffer("seen", torch::zeros({}));
  }
  void end_update(const RouterStats& global, const LayerStats& layers) override {
    seen_.fill_(static_cast<double>(global.tokens));
  }

 private:
  torch::Tensor seen_;
};

TEST(RankSums, TwoRanksMakeTheUpdateOfOneWithAllMicroBatches) {
  EVOMOE_NEEDS_RANKS();
  const auto first = batch_of_rank(1, 2, 0), second = batch_of_rank(2, 3, 2);
  auto whole = trainer_with(std::make_shared<SelfCommunicator>());
  const auto expected = whole.update({first, second}, 1);

  const auto found = on_ranks(2, [&](const Ranks& ranks) {
    const int rank = ranks->rank();
    auto trainer = trainer_with(ranks);
    auto result = trainer.update({rank == 0 ? first : second}, 1);
    return std::tuple(std::move(result), gradients_of(trainer), trainer.model_state());
  });

  EXPECT_LT(expected.clip_coefficient, 1) << "so that a wrong norm makes another update";
  const auto expected_gradients = gradients_of(whole);
  for (const auto& [result, gradients, state] : found) {
    expect_same_sums(result.sums, expected.sums);
    EXPECT_NEAR(result.gradient_norm, expected.gradient_norm, 1e-5 * expected.gradient_norm);
    EXPECT_DOUBLE_EQ(result.flops, expected.flops);
    ASSERT_EQ(result.routers.size(), 1U);
    expect_same_statistics(result.routers.front().second, expected.routers.front().second);
    EXPECT_NEAR(result.clip_coefficient, expected.clip_coefficient, 1e-5);
    for (const auto& [name, gradient] : gradients)
      EXPECT_TRUE(torch::allclose(gradient, expected_gradients.at(name), 1e-4, 1e-4)) << name;
    for (const auto& [name, tensor] : state)
      EXPECT_TRUE(torch::equal(tensor, std::get<2>(found[0]).at(name))) << name;
  }
}

TEST(RankSums, RoutersAreToldOfTheTokensOfAllRanks) {
  EVOMOE_NEEDS_RANKS();
  register_router("remembering",
                  router_method<RememberingRouter, CapacityOptions, GumbelGateOptions>());
  auto options = options_of_ranks();
  options.moe.moe_router = "remembering";
  const auto found = on_ranks(2, [&](const Ranks& ranks) {
    const int rank = ranks->rank();
    Trainer trainer(options, Vocabulary::of_one(kSymbolsOfRanks, Dictionary::kPad), torch::kCPU,
                    make_rank_groups(ranks, 1));
    trainer.update({batch_of_rank(rank, 1 + rank, rank)}, 1);
    return trainer.model_state();
  });
  for (const auto& state : found) {
    const auto seen = std::find_if(state.begin(), state.end(), [](const auto& entry) {
      return entry.first.ends_with(".seen");
    });
    ASSERT_NE(seen, state.end());
    EXPECT_EQ(seen->second.item<int64_t>(), 24);
  }
}

TEST(RankSums, AValidationIsThatOfAllRanks) {
  EVOMOE_NEEDS_RANKS();
  const auto sums_of = [](int64_t tokens, double loss) {
    LossSums sums;
    sums.sample_size = sums.tokens = tokens;
    sums.loss = loss;
    return sums;
  };
  const auto found = on_ranks(2, [&](const Ranks& ranks) {
    const int rank = ranks->rank();
    MeterGroup meters;
    const auto evaluate = [&](const Batch&) { return sums_of(rank == 0 ? 10 : 30, 40.0 * rank); };
    EpochIteratorOptions iterator;
    iterator.limits.max_sentences = 1;
    const auto total = evaluate_dataset(std::make_shared<FourTokens>(), iterator,
                                        CriterionOptions(), evaluate, meters, *ranks);
    return std::pair(total->sample_size, meters.value("loss"));
  });
  for (const auto& [sample_size, loss] : found) {
    EXPECT_EQ(sample_size, 40);
    EXPECT_DOUBLE_EQ(loss, 1 / std::log(2.0));
  }
}

TEST(RankSums, BleuIsOfTheSentencesOfAllRanks) {
  EVOMOE_NEEDS_RANKS();
  const std::vector<std::string> references = {"a b c d e f", "the cat sat on the mat today"};
  const std::vector<std::string> systems = {"a b c d x f", "the cat sat on a mat"};
  TextBleu whole({.tokenize = "none"});
  for (size_t i = 0; i < 2; ++i) whole.add(references[i], systems[i]);
  const auto found = on_ranks(2, [&](const Ranks& ranks) {
    const int rank = ranks->rank();
    TextBleu own({.tokenize = "none"});
    own.add(references[static_cast<size_t>(rank)], systems[static_cast<size_t>(rank)]);
    auto counts = own.counts();
    sum_over_ranks(counts, *ranks);
    TextBleu all({.tokenize = "none"});
    all.add(counts);
    return all.score();
  });
  EXPECT_GT(whole.score(), 0);
  for (const auto score : found) EXPECT_EQ(score, whole.score());
}

TEST(RankSums, AnswersOfAllRanksComeInTheirOrder) {
  EVOMOE_NEEDS_RANKS();
  const auto found = on_ranks(2, [](const Ranks& ranks) {
    const int rank = ranks->rank();
    LossSums sums;
    sums.sample_size = 1 + rank;
    sums.confusion[1][0] = 4 * rank;
    sums.answers = {{1.5F, 2.5F}};
    if (rank == 1) sums.answers = {{3.5F, 4.5F}, {5.5F, 6.5F}};
    sum_over_ranks(sums, *ranks);
    return sums;
  });
  for (const auto& sums : found) {
    EXPECT_EQ(sums.sample_size, 3);
    EXPECT_EQ(sums.confusion[1][0], 4);
    EXPECT_THAT(sums.answers, ::testing::ElementsAre(std::pair(1.5F, 2.5F), std::pair(3.5F, 4.5F),
                                                     std::pair(5.5F, 6.5F)));
  }
}

}  // namespace
}  // namespace evomoe
