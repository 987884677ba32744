#include "evomoe/train/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "evomoe/base/error.h"
#include "evomoe/text/dictionary.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kVocabulary = 20;

/// Two layers, the second with 4 experts that are spawned after 2 updates.
TrainOptions evolution() {
  TrainOptions options;
  options.task.tokens_per_sample = 8;
  options.model.arch = "transformer_lm_gpt2_tiny";
  options.model.decoder.layers = 2;
  options.model.decoder.embed_dim = 8;
  options.model.decoder.ffn_embed_dim = 16;
  options.model.decoder.attention_heads = 2;
  options.moe.moe_freq = 2;
  options.moe.moe_expert_count = 4;
  options.moe.moe_router = "dts";
  options.evolution.shared_expert_updates = 2;
  options.evolution.use_gumbel_softmax = true;
  options.evolution.diversify.operation = "noise";
  options.evolution.switch_to_hard_gumbel_softmax = 3;
  options.criterion.criterion = "moe_cross_entropy";
  options.optimization.lr = {0.01};
  options.dataset.batch_size = 2;
  return options;
}

Batch batch(int64_t seed) {
  Batch batch;
  batch.rows = 2;
  batch.columns = batch.target_columns = 8;
  for (int64_t i = 0; i < 16; ++i) {
    batch.source.push_back(4 + (seed * 7 + i * i) % 16);
    batch.target.push_back(4 + (seed * 5 + 3 * i) % 16);
  }
  batch.ids = {0, 1};
  batch.lengths = {8, 8};
  batch.tokens = 16;
  return batch;
}

const auto kSymbols = Vocabulary::of_one(kVocabulary, Dictionary::kPad);

Trainer make_trainer(const TrainOptions& options) {
  return Trainer(options, kSymbols, torch::kCPU);
}

/// While it lives, a matrix of layer 0 is so large (but finite) that the activations overflow.
class Overflow {
 public:
  explicit Overflow(Trainer& trainer) {
    for (const auto& parameter : trainer.parameters()) {
      if (parameter.name == "decoder.layers.0.fc2.weight") weight_ = parameter.tensor.detach();
    }
    kept_ = weight_.clone();
    weight_.fill_(3e38);
  }
  ~Overflow() { weight_.copy_(kept_); }
  Overflow(const Overflow&) = delete;
  Overflow& operator=(const Overflow&) = delete;

 private:
  torch::Tensor weight_, kept_;
};

void expect_equal(const TensorMap& a, const TensorMap& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a) EXPECT_TRUE(torch::equal(tensor, b.at(name))) << name;
}

TEST(Trainer, SpawnsTheExpertsWithTheirMomentsBeforeTheUpdateThatFollowsTheSharedStage) {
  auto options = evolution();
  options.evolution.diversify.operation = "copy";
  options.optimization.lr = {0.0};
  auto trainer = make_trainer(options);
  trainer.update({batch(1)}, 1);
  EXPECT_FALSE(trainer.update({batch(2)}, 1).spawned);
  EXPECT_TRUE(trainer.holds_shared_expert());
  const std::string w1 = "decoder.layers.1.moe_layer.experts.w1";
  const auto one = trainer.model_state().at(w1).clone();
  TensorMap before;
  for (const auto& [name, tensor] : trainer.optimizer_state()) before[name] = tensor.clone();
  EXPECT_TRUE(trainer.update({batch(3)}, 1).spawned);
  EXPECT_FALSE(trainer.holds_shared_expert());
  const auto spawned = trainer.model_state().at(w1);
  for (int64_t e = 0; e < 4; ++e) EXPECT_TRUE(torch::equal(spawned[e], one[0]));
  // Each expert's moments go on from the shared expert's: beta times it, plus its own gradient.
  bool found = false;
  for (const auto& [name, tensor] : trainer.optimizer_state()) {
    if (name.find(w1) == std::string::npos || name.find("exp_avg") == std::string::npos ||
        name.find("exp_avg_sq") != std::string::npos) {
      continue;
    }
    found = true;
    const auto gradient = [&] {
      for (const auto& parameter : trainer.parameters()) {
        if (parameter.name == w1) return parameter.tensor.grad() / 16.0;
      }
      return torch::Tensor();
    }();
    const auto expected = 0.9 * before.at(name) + 0.1 * gradient;
    EXPECT_TRUE(torch::allclose(tensor, expected, 1e-4, 1e-8));
  }
  EXPECT_TRUE(found);
}

TEST(Trainer, AnUpdateSkippedAtTheSpawnIsMadeUpForWithTheSpawnedExperts) {
  auto options = evolution();
  options.optimization.on_non_finite = "skip";
  auto trainer = make_trainer(options);
  for (int i = 0; i < 2; ++i) trainer.update({batch(i)}, 1);
  {
    const Overflow overflow(trainer);
    EXPECT_FALSE(trainer.update({batch(2)}, 1).applied);
  }
  EXPECT_FALSE(trainer.holds_shared_expert());
  EXPECT_TRUE(trainer.update({batch(3)}, 1).applied);
  EXPECT_EQ(trainer.updates(), 3);

  // A checkpoint between the two goes on the same way.
  Trainer resumed(options, kSymbols, torch::kCPU, 2, /*shared_expert=*/false);
  auto twin = make_trainer(options);
  for (int i = 0; i < 2; ++i) twin.update({batch(i)}, 1);
  {
    const Overflow overflow(twin);
    twin.update({batch(2)}, 1);
  }
  resumed.load_model_state(twin.model_state(), "twin", "");
  resumed.load_optimizer_state(twin.optimizer_state());
  resumed.update({batch(3)}, 1);
  expect_equal(resumed.model_state(), trainer.model_state());
}

TEST(Trainer, RoutersBeginWithDirectionsOfTheirInputsAlsoInARunThatWasResumedAtTheSpawn) {
  auto options = evolution();
  options.optimization.lr = {0.0};
  auto plain = make_trainer(options);
  options.evolution.evolution_router_init = "kmeans";
  auto trainer = make_trainer(options);
  const std::string gate = "decoder.layers.1.moe_layer.gate.wg.weight";
  for (int i = 0; i < 2; ++i) {
    plain.update({batch(i)}, 1);
    trainer.update({batch(i)}, 1);
  }
  EXPECT_TRUE(torch::equal(trainer.model_state().at(gate), plain.model_state().at(gate)));
  Trainer resumed(options, kSymbols, torch::kCPU, 2, /*shared_expert=*/true);
  resumed.load_model_state(trainer.model_state(), "trainer", "");
  resumed.load_optimizer_state(trainer.optimizer_state());
  for (auto* each : {&plain, &trainer, &resumed}) EXPECT_TRUE(each->update({batch(2)}, 1).spawned);
  const auto before = plain.model_state().at(gate), after = trainer.model_state().at(gate);
  EXPECT_TRUE(torch::allclose(after.norm(2, 1), before.norm(2, 1).mean().expand({4}), 1e-5));
  EXPECT_FALSE(torch::allclose(after, before, 1e-2));
  expect_equal(resumed.model_state(), trainer.model_state());
}

TEST(Trainer, ExpertsGrowAndARunThatWasResumedAnywhereIsTheSame) {
  auto options = evolution();
  options.evolution.growth_experts = {1, 2};
  options.evolution.growth_updates = {2, 2};
  const std::vector<std::pair<std::string, std::string>> cases = {{"adam", "copy"},
                                                                  {"adam", "reset"},
                                                                  {"adam", "scale"},
                                                                  {"adafactor", "scale"},
                                                                  {"muon", "copy"}};
  for (const auto& [optimizer, rule] : cases) {
    SCOPED_TRACE(optimizer + " " + rule);
    options.optimizer.optimizer = optimizer;
    options.evolution.diversify.moments = rule;
    auto trainer = make_trainer(options);
    for (int64_t i = 0; i < 8; ++i) {
      SCOPED_TRACE(i);
      Trainer resumed(options, kSymbols, torch::kCPU, i, trainer.holds_shared_expert(), one_rank(),
                      trainer.experts());
      resumed.load_model_state(trainer.model_state(), "trainer", "");
      resumed.load_optimizer_state(trainer.optimizer_state());
      const auto result = trainer.update({batch(i)}, 1);
      EXPECT_EQ(result.grown_from, i == 4 ? 1 : i == 6 ? 2 : 0);
      EXPECT_EQ(result.routers[0].second.load_E.size(0), i < 4 ? 1 : i < 6 ? 2 : 4);
      EXPECT_EQ(resumed.update({batch(i)}, 1).grown_from, result.grown_from);
      expect_equal(resumed.model_state(), trainer.model_state());
      expect_equal(resumed.optimizer_state(), trainer.optimizer_state());
    }
    EXPECT_EQ(trainer.model_state().at("decoder.layers.1.moe_layer.experts.w2").size(0), 4);
  }
}

TEST(Trainer, TheSecondWarmUpFollowsTheSpawnForEveryScheduleAndInAResumedRun) {
  for (const std::string schedule :
       {"fixed", "cosine", "inverse_sqrt", "polynomial_decay", "tri_stage", "wsd"}) {
    SCOPED_TRACE(schedule);
    auto options = evolution();
    auto& optimization = options.optimization;
    optimization.lr_scheduler = schedule;
    optimization.max_update = 50;
    if (schedule == "tri_stage")
      optimization.phase_ratio = std::vector<double>{0.0, 0.5, 0.5};
    else
      optimization.warmup_updates = 1;
    auto plain = make_trainer(options);
    options.evolution.lr_rewarmup_updates = 2;
    auto trainer = make_trainer(options);
    for (const double factor : {1.0, 1.0, 0.5, 1.0}) {
      const auto lr = trainer.update({batch(trainer.updates())}, 1).lr;
      EXPECT_DOUBLE_EQ(lr, factor * plain.next_lr(1));
      plain.update({batch(plain.updates())}, 1);
      const bool shared = trainer.holds_shared_expert();
      const Trainer resumed(options, kSymbols, torch::kCPU, trainer.updates(), shared);
      EXPECT_EQ(resumed.next_lr(1), trainer.next_lr(1));
    }
  }
}

TEST(Trainer, ANonFiniteLossIsExplainedAndChangesNothing) {
  auto trainer = make_trainer(evolution());
  for (int i = 0; i < 3; ++i) trainer.update({batch(i)}, 1);
  TensorMap before;
  for (const auto& [name, tensor] : trainer.model_state()) before[name] = tensor.clone();
  {
    const Overflow overflow(trainer);
    try {
      trainer.update({batch(3)}, 1);
      FAIL() << "the update was made";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("update 4"));
      EXPECT_THAT(error.what(), HasSubstr("layer 0"));
      EXPECT_THAT(error.what(), HasSubstr("--on-non-finite skip"));
    }
  }
  expect_equal(trainer.model_state(), before);
}

TEST(Trainer, SkippingEndsWhenAParameterIsBrokenOrNothingButSkippingHappens) {
  auto options = evolution();
  options.optimization.on_non_finite = "skip";
  auto broken = make_trainer(options);
  for (const auto& parameter : broken.parameters()) {
    if (parameter.name == "decoder.layers.0.fc1.weight")
      parameter.tensor.detach().view(-1)[3] = std::numeric_limits<float>::infinity();
  }
  try {
    broken.update({batch(1)}, 1);
    FAIL() << "a broken model was trained on";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("decoder.layers.0.fc1.weight"));
  }
  auto endless = make_trainer(options);
  const Overflow overflow(endless);
  const auto skip_for_ever = [&] {
    for (int i = 0; i < 1000; ++i) endless.update({batch(i)}, 1);
  };
  EXPECT_THROW(skip_for_ever(), Error);
}

TEST(Trainer, TwoMicroBatchesGiveTheUpdateOfTheirUnion) {
  auto options = evolution();
  options.evolution.shared_expert_updates = 0;
  options.model.dropout = 0.1;
  options.model.attention_dropout = 0.1;
  // The balance loss is a mean over a micro-batch, so it would differ.
  options.criterion.criterion = "cross_entropy";
  options.dataset.batch_size.reset();
  auto halves = batch(1), other = batch(2);
  other.first_sequence = 2;
  Batch both = halves;
  both.rows = 4;
  both.ids = {0, 1, 2, 3};
  both.lengths = {8, 8, 8, 8};
  both.tokens = 32;
  both.source.insert(both.source.end(), other.source.begin(), other.source.end());
  both.target.insert(both.target.end(), other.target.begin(), other.target.end());
  auto split = make_trainer(options), whole = make_trainer(options);
  for (int i = 0; i < 6; ++i) {
    const auto a = split.update({halves, other}, 1), b = whole.update({both}, 1);
    EXPECT_NEAR(a.sums.loss, b.sums.loss, 1e-5 * b.sums.loss);
    EXPECT_NEAR(a.gradient_norm, b.gradient_norm, 1e-4 * b.gradient_norm);
  }
}

/// A criterion, of a model that it goes with.
struct WithoutTarget {
  std::string name;
  std::function<void(TrainOptions&)> change;
};

class UpdateWithoutTarget : public ::testing::TestWithParam<WithoutTarget> {
 protected:
  static TrainOptions options() {
    auto options = evolution();
    options.evolution.shared_expert_updates = 0;
    options.optimizer.weight_decay = 0.1;
    options.optimization.clip_norm = 0.5;
    options.criterion.moe_z_loss_wt = 0.1;
    options.criterion.label_smoothing = 0.1;
    GetParam().change(options);
    if (options.task.task == "masked_lm") {
      options.model.arch = "roberta_base";
      options.model.encoder = options.model.decoder;
    }
    return options;
  }

  /// As batch(), but nothing in it is to be predicted.
  static Batch none(int64_t seed) {
    auto none = batch(seed);
    none.target.assign(none.target.size(), Dictionary::kPad);
    none.tokens = 0;
    return none;
  }
};

TEST_P(UpdateWithoutTarget, HasAZeroGradientAndTheRunGoesOn) {
  auto trainer = make_trainer(options());
  trainer.update({batch(1)}, 1);
  TensorMap before;
  for (const auto& [name, tensor] : trainer.optimizer_state()) before[name] = tensor.clone();
  const auto result = trainer.update({none(2), none(3)}, 1);
  EXPECT_TRUE(result.applied);
  EXPECT_EQ(result.sums.loss, 0);
  EXPECT_EQ(result.gradient_norm, 0);
  trainer.check_parameters();
  // Adam sees a gradient of 0 in each parameter: moments decay, and the weights go on.
  for (const auto& [name, moment] : trainer.optimizer_state()) {
    const bool second = name.find("exp_avg_sq") != std::string::npos;
    if (!second && name.find("exp_avg") == std::string::npos) continue;
    // A band of the adaptive softmax without a target has no gradient, as in fairseq.
    const bool untouched = name.find(".adaptive_softmax.tail.") != std::string::npos;
    const double decay = untouched ? 1 : second ? 0.999 : 0.9;
    EXPECT_TRUE(torch::allclose(moment, before.at(name) * decay, 1e-5, 1e-12)) << name;
  }
  EXPECT_TRUE(std::isfinite(trainer.update({batch(4)}, 1).sums.loss));
}

TEST_P(UpdateWithoutTarget, AddsNothingAsAMicroBatch) {
  auto alone = make_trainer(options()), beside = make_trainer(options());
  alone.update({batch(1)}, 1);
  beside.update({batch(1), none(2)}, 1);
  const auto expected = alone.model_state();
  for (const auto& [name, tensor] : beside.model_state())
    EXPECT_TRUE(torch::allclose(tensor, expected.at(name), 1e-5, 1e-7)) << name;
}

WithoutTarget of_criterion(const std::string& criterion, const std::string& task,
                           const std::string& transform = "none") {
  return {criterion + "_" + transform, [=](TrainOptions& options) {
            options.task.task = task;
            options.criterion.criterion = criterion;
            options.criterion.moe_gate_loss_transform = transform;
          }};
}

const std::vector<WithoutTarget>& kinds_without_target() {
  const std::string text = "language_modeling", masked = "masked_lm";
  static const std::vector<WithoutTarget> kinds = {
      of_criterion("cross_entropy", text),
      of_criterion("moe_cross_entropy", text),
      of_criterion("moe_cross_entropy", text, "neg_log"),
      of_criterion("cross_entropy_gumbel", text),
      of_criterion("label_smoothed_cross_entropy", text),
      of_criterion("moe_label_smoothed_cross_entropy", text),
      of_criterion("masked_lm", masked),
      of_criterion("moe_masked_lm", masked),
      of_criterion("moe_masked_lm", masked, "neg_log"),
      of_criterion("masked_lm_gumbel", masked),
      {"adaptive_loss",
       [](TrainOptions& options) {
         options.criterion.criterion = "adaptive_loss";
         options.model.adaptive_softmax_cutoff = {8, 14};
         options.model.adaptive_softmax_factor = 2;
       }},
      {"top1_without_temperature", [](TrainOptions& options) {
         options.moe.moe_router = "switch";
         options.evolution.use_gumbel_softmax = false;
       }}};
  return kinds;
}

INSTANTIATE_TEST_SUITE_P(Kinds, UpdateWithoutTarget, ::testing::ValuesIn(kinds_without_target()),
                         [](const auto& info) { return info.param.name; });

TEST(Trainer, AnUpdateWithoutATargetDoesNotHideANonFiniteModel) {
  auto options = evolution();
  options.optimization.on_non_finite = "skip";
  auto trainer = make_trainer(options);
  trainer.update({batch(1)}, 1);
  for (const auto& parameter : trainer.parameters()) {
    if (parameter.name == "decoder.layers.0.fc1.weight")
      parameter.tensor.detach().view(-1)[3] = std::numeric_limits<float>::infinity();
  }
  auto none = batch(2);
  none.target.assign(none.target.size(), Dictionary::kPad);
  none.tokens = 0;
  EXPECT_THROW(trainer.update({none}, 1), DivergenceError);
}

}  // namespace
}  // namespace evomoe
