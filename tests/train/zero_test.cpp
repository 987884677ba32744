// Runs of several ranks that divide optimiser state, gradients and parameters: the same numbers as
// one process.
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "evomoe/base/error.h"
#include "evomoe/routing/capacity.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/train/optimizer_settings.h"
#include "evomoe/train/trainer.h"
#include "evomoe/train/validation.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/ranks.h"

namespace evomoe {
namespace {

using testing::on_ranks;

constexpr int64_t kSymbolsOfZero = 23;  // odd sizes: no parameter divides evenly by 2, 3 and 4

/// dense, switch, dts (two updates of a shared expert, then 3 experts), or modern: gated experts
/// with topk behind a gated dense layer, as today's decoders have it.
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
    options.evolution.evolution_router_init = "kmeans";
    options.moe.moe_shared_expert_hidden_dim = 5;
    options.moe.moe_expert_hidden_dim = 7;
  }
  if (model == "modern") {
    options.model.arch = "qwen3_moe_tiny";
    options.model.form.head_dim = 6;
    options.model.form.kv_heads = 1;
    options.model.form.sliding_window = 3;
    options.moe.moe_first_dense_layers = 1;
    options.moe.moe_freq = 1;
    options.moe.moe_router = "topk";
    options.routers.get<CapacityOptions>().train_factor = 0;
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

Trainer trainer_of_zero(const TrainOptions& options, const std::shared_ptr<Communicator>& ranks,
                        int64_t expert_ranks = 1) {
  return Trainer(options, Vocabulary::of_one(kSymbolsOfZero, Dictionary::kPad), torch::kCPU,
                 make_rank_groups(ranks, expert_ranks));
}

/// What a run has shown.
struct Shown {
  std::vector<UpdateResult> updates;
  TensorMap model, optimizer;
  std::map<std::string, TensorPiece> pieces;
};

TensorMap copy_of(const TensorMap& tensors) {
  TensorMap copies;
  for (const auto& [name, tensor] : tensors) copies[name] = tensor.clone();
  return copies;
}

void keep_state(const Trainer& trainer, Shown& shown) {
  shown.model = copy_of(trainer.model_state());
  shown.optimizer = copy_of(trainer.optimizer_state());
  shown.pieces = trainer.pieces();
}

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
  keep_state(trainer, shown);
  return shown;
}

/// A tensor of which ranks have pieces.
torch::Tensor put_together(const std::vector<Shown>& ranks, const std::string& name,
                           TensorMap Shown::*state) {
  std::vector<std::pair<TensorPiece, torch::Tensor>> parts;
  for (const auto& rank : ranks) {
    if (const auto piece = rank.pieces.find(name); piece != rank.pieces.end())
      parts.emplace_back(piece->second, (rank.*state).at(name).flatten());
  }
  if (parts.empty()) return (ranks.front().*state).at(name);
  std::ranges::sort(parts, {}, [](const auto& part) { return part.first.begin; });
  std::vector<torch::Tensor> tensors;
  int64_t at = 0;
  for (const auto& [piece, tensor] : parts) {
    EXPECT_EQ(piece.shape, parts.front().first.shape) << name;
    EXPECT_EQ(piece.begin, at) << name;
    EXPECT_EQ(tensor.numel(), piece.end - piece.begin) << name;
    at = piece.end;
    tensors.push_back(tensor);
  }
  return torch::cat(tensors).view(parts.front().first.shape);
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
    // Its gradient is 0 but for rounding, which Adam makes as large as any.
    if (name.find("k_proj.bias") != std::string::npos) continue;
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
  static std::vector<std::string> models() { return {"dense", "switch", "dts", "modern"}; }
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

TEST_P(Zero, WorksWithRecomputedActivationsAndTiedWeights) {
  for (const bool keep_whole : {false, true}) {
    SCOPED_TRACE(keep_whole);
    auto options = options_of_zero("dts", GetParam());
    options.model.checkpoint_activations = true;
    options.model.share_decoder_input_output_embed = true;
    options.moe.recompute_experts = true;
    options.distributed.no_reshard_after_forward = keep_whole;
    expect_same(train_on_ranks(options, 3, 2), train_alone(options, 6));
  }
}

/// Experts on different ranks, and what is divided beside that.
TEST_P(Zero, DividesExpertsAmongTheRanksThatHoldTheSame) {
  for (const auto& [model, expert_ranks] : {std::pair{"dts", 2}, {"dts", 4}, {"modern", 2}}) {
    SCOPED_TRACE(fmt::format("{}, {}", model, expert_ranks));
    auto options = options_of_zero(model, GetParam());
    options.moe.moe_expert_count = 5;
    const auto whole = train_alone(options, 4);
    const auto ranks = on_ranks(
        4, [&, of_experts = expert_ranks](const std::shared_ptr<Communicator>& communicator) {
          auto trainer = trainer_of_zero(options, communicator, of_experts);
          return train(trainer, communicator->rank(), 4, 1);
        });
    for (const auto& rank : ranks) {
      for (size_t i = 0; i < whole.updates.size(); ++i)
        expect_same_update(rank.updates[i], whole.updates[i]);
    }
    expect_same_tensors(ranks, whole, &Shown::model);
    expect_same_tensors(ranks, whole, &Shown::optimizer);
  }
}

TEST_P(Zero, FrozenParametersChangeNothingOfThat) {
  for (const std::vector<std::string>& freeze :
       {std::vector<std::string>{"embedding", "head", "norm", "bias", "matrix"},
        {"expert", "router"}}) {
    SCOPED_TRACE(fmt::format("{}", fmt::join(freeze, ",")));
    auto options = options_of_zero("dts", GetParam());
    options.optimizer.freeze = freeze;
    expect_same(train_on_ranks(options, 3, 2), train_alone(options, 6));
  }
}

TEST_P(Zero, WhatIsFrozenIsSentOnlyWhereItIsGatheredToCompute) {
  auto options = options_of_zero("dense", GetParam());
  const auto sent_in_update = [&] {
    const auto sent = on_ranks(2, [&](const std::shared_ptr<Communicator>& communicator) {
      auto trainer = trainer_of_zero(options, communicator);
      trainer.update({batch_of_zero(communicator->rank())}, 1);
      const auto before = communicator->bytes_sent();
      trainer.update({batch_of_zero(communicator->rank() + 2)}, 1);
      return static_cast<double>(communicator->bytes_sent() - before);
    });
    return sent.front();
  };
  const auto all = sent_in_update();
  options.optimizer.freeze = {"matrix"};
  const auto less = all - sent_in_update();
  double bytes = 0, matrices = 0;
  const auto trainer = trainer_of_zero(options, std::make_shared<SelfCommunicator>());
  for (const auto& parameter : trainer.parameters()) {
    if (parameter.kind != ParameterKind::kMatrix) continue;
    bytes += static_cast<double>(parameter.tensor.nbytes());
    ++matrices;
  }
  // Times that gradients, and in stages 1 and 2 what was updated, go round the ring of two.
  const auto rounds = std::vector<double>{2, 3, 2, 1}.at(static_cast<size_t>(GetParam()));
  EXPECT_NEAR(less, rounds * bytes / 2, 12 * matrices) << "but for padding and one count of each";
}

/// One micro-batch of `ranks` is `special`.
std::vector<Shown> train_with(const TrainOptions& options, int ranks,
                              const std::function<void(Batch&, int rank, int update)>& special) {
  return on_ranks(ranks, [&](const std::shared_ptr<Communicator>& communicator) {
    auto trainer = trainer_of_zero(options, communicator);
    Shown shown;
    for (int update = 0; update < kUpdates; ++update) {
      auto batch = batch_of_zero(update * kMicroBatches + communicator->rank());
      special(batch, communicator->rank(), update);
      shown.updates.push_back(trainer.update({batch}, 1));
    }
    keep_state(trainer, shown);
    return shown;
  });
}

TEST_P(Zero, ARankWithoutABatchOfItsOwnTakesPart) {
  const auto options = options_of_zero("dts", GetParam());
  const auto found = train_with(options, 2, [](Batch& batch, int rank, int update) {
    if (rank == 0 || update % 2 == 0) return;
    batch.stands_in = true;
    batch.ids.clear();
    batch.tokens = 0;
  });
  auto trainer = trainer_of_zero(options, std::make_shared<SelfCommunicator>());
  Shown whole;
  for (int update = 0; update < kUpdates; ++update) {
    std::vector<Batch> batches = {batch_of_zero(update * kMicroBatches)};
    if (update % 2 == 0) batches.push_back(batch_of_zero(update * kMicroBatches + 1));
    whole.updates.push_back(trainer.update(batches, 1));
  }
  keep_state(trainer, whole);
  expect_same(found, whole);
}

TEST_P(Zero, AnUpdateWithALossThatIsNotFiniteIsSkippedByAllRanks) {
  auto options = options_of_zero("switch", GetParam());
  options.optimization.on_non_finite = "skip";
  const auto found = on_ranks(2, [&](const std::shared_ptr<Communicator>& communicator) {
    auto trainer = trainer_of_zero(options, communicator);
    // A symbol that only one batch has, whose embedding overflows.
    constexpr int64_t kOverflows = 3;
    for (const auto& parameter : trainer.model().named_parameters()) {
      if (parameter.key() == "decoder.embed_tokens.weight")
        parameter.value().detach()[kOverflows].fill_(3e38);
    }
    std::vector<bool> applied;
    for (int update = 0; update < 3; ++update) {
      auto batch = batch_of_zero(update * kMicroBatches + communicator->rank());
      if (update == 1 && communicator->rank() == 1) batch.source.front() = kOverflows;
      applied.push_back(trainer.update({batch}, 1).applied);
    }
    return applied;
  });
  for (const auto& applied : found) EXPECT_EQ(applied, (std::vector<bool>{true, false, true}));
}

TEST_P(Zero, ALossThatIsNotFiniteEndsTheRunWithItsReason) {
  auto options = options_of_zero("dense", GetParam());
  const auto found = on_ranks(2, [&](const std::shared_ptr<Communicator>& communicator) {
    auto trainer = trainer_of_zero(options, communicator);
    for (const auto& parameter : trainer.model().named_parameters()) {
      const torch::NoGradGuard no_grad;
      if (parameter.key() == "decoder.layers.1.fc2.weight") parameter.value().fill_(3e38);
    }
    std::string reason;
    try {
      trainer.update({batch_of_zero(communicator->rank())}, 1);
    } catch (const DivergenceError& error) {
      reason = error.what();
    }
    communicator->all_gather(0);  // the other rank may still be connecting to this one
    return reason;
  });
  for (const auto& error : found)
    EXPECT_THAT(error, ::testing::HasSubstr("the output of layer 1 is not finite"));
}

TEST_P(Zero, ARankHoldsItsShareBetweenUpdates) {
  const auto stage = GetParam();
  const auto options = options_of_zero("switch", stage);
  on_ranks(4, [&](const std::shared_ptr<Communicator>& communicator) {
    auto trainer = trainer_of_zero(options, communicator);
    trainer.update({batch_of_zero(communicator->rank())}, 1);
    int64_t numel = 0, whole = 0, gradients = 0, own = 0, tensors = 0;
    for (const auto& parameter : trainer.model().parameters()) {
      numel += parameter.numel();
      whole += static_cast<int64_t>(parameter.storage().nbytes()) / 4;
      if (parameter.grad().defined()) gradients += parameter.grad().numel();
      ++tensors;
    }
    for (const auto& parameter : trainer.parameters()) own += parameter.tensor.numel();
    const auto share = numel / 4 + tensors;  // one element of padding of each
    EXPECT_LE(own, stage > 0 ? share : numel);
    EXPECT_EQ(whole == 0, stage == 3);
    if (stage >= 2) EXPECT_EQ(gradients, 0);
    // Two moments of float32, and a count of steps of each parameter.
    EXPECT_LE(trainer.resident_optimizer_bytes(), 8 * (stage > 0 ? share : numel) + 8 * tensors);
  });
}

TEST_P(Zero, AStateOfWholeTensorsIsLoadedAndTheRunGoesOnTheSame) {
  const auto options = options_of_zero("switch", GetParam());
  auto whole = trainer_of_zero(options, std::make_shared<SelfCommunicator>());
  whole.update({batch_of_zero(0), batch_of_zero(1), batch_of_zero(2)}, 1);
  const auto model = copy_of(whole.model_state()), optimizer = copy_of(whole.optimizer_state());
  const auto expected = train(whole, 0, 1, 3);
  const auto found = on_ranks(3, [&](const std::shared_ptr<Communicator>& communicator) {
    auto trainer = trainer_of_zero(options, communicator);
    trainer.update({batch_of_zero(communicator->rank() + 7)}, 1);  // what is loaded takes its place
    trainer.load_model_state(model, "a test", "none");
    trainer.load_optimizer_state(optimizer);
    return train(trainer, communicator->rank(), 3, 1);
  });
  expect_same(found, expected);
}

TEST_P(Zero, EvaluatesTheWholeModel) {
  const auto options = options_of_zero("switch", GetParam());
  const auto loss_of = [&](Trainer& trainer, int64_t batch) {
    return evaluate_batch(trainer.model(), trainer.criterion(), options, batch_of_zero(batch),
                          torch::kCPU, /*as_trained=*/false)
        .loss;
  };
  auto whole = trainer_of_zero(options, std::make_shared<SelfCommunicator>());
  train(whole, 0, 1, 3);
  const auto found = on_ranks(3, [&](const std::shared_ptr<Communicator>& communicator) {
    auto trainer = trainer_of_zero(options, communicator);
    train(trainer, communicator->rank(), 3, 1);
    std::vector<double> losses;
    for (const bool any_calls : {false, true}) {
      const auto scope = trainer.evaluation(any_calls);
      for (int64_t batch = 0; batch < 3; ++batch) losses.push_back(loss_of(trainer, batch));
      // Ranks that evaluate more than others do.
      for (int i = 0; any_calls && i < communicator->rank(); ++i) loss_of(trainer, i);
    }
    trainer.update({batch_of_zero(communicator->rank())}, 1);
    return losses;
  });
  for (const auto& losses : found) {
    for (size_t i = 0; i < losses.size(); ++i) {
      const auto expected = loss_of(whole, static_cast<int64_t>(i % 3));
      EXPECT_NEAR(losses[i], expected, 1e-4 * expected);
    }
  }
}

TEST(ZeroOptions, OptimizersOfWholeMatricesAreRefused) {
  auto options = options_of_zero("dense", 2);
  options.distributed.distributed_world_size = 2;
  for (const auto* name : {"adafactor", "muon"}) {
    options.optimizer.optimizer = name;
    expect_error([&] { check_optimizer(options); }, {"--zero-stage 2", name, "--zero-stage 0"});
  }
  options.distributed.zero_stage = 0;
  check_optimizer(options);
  options.distributed.zero_stage.reset();
  options.distributed.ddp_backend = "fully_sharded";
  EXPECT_EQ(zero_stage(options.distributed), 3);
  expect_error([&] { check_optimizer(options); }, {"--ddp-backend fully_sharded", "muon"});
}

TEST_P(Zero, ARankMayOwnNothingOfASmallParameter) {
  const auto options =
      options_of_zero("dense", GetParam());  // ten biases for six ranks: 2 2 2 2 2 0
  expect_same(train_on_ranks(options, 6, 1), train_alone(options, 6));
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
