#include "evomoe/train/validation.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/routing/capacity.h"
#include "evomoe/train/batches.h"
#include "evomoe/train/contexts.h"
#include "evomoe/train/settings.h"

namespace evomoe {
namespace {

constexpr int64_t kPadding = 1, kWords = 30;
SelfCommunicator communicator;

/// Sequences of 4 to 9 tokens, made up.
class SomeSequences : public Dataset {
 public:
  explicit SomeSequences(int64_t items) : items_(items) {}
  int64_t size() const override { return items_; }
  int64_t item_size(int64_t item) const override { return 4 + (item * 5) % 6; }
  std::vector<int64_t> ordered_indices(int64_t) const override {
    std::vector<int64_t> order;
    for (int64_t i = 0; i < items_; ++i) order.push_back(i);
    return order;
  }
  Batch collate(std::span<const int64_t> items) const override {
    Batch batch;
    batch.rows = static_cast<int64_t>(items.size());
    for (const auto item : items) batch.columns = std::max(batch.columns, item_size(item));
    batch.target_columns = batch.columns;
    for (const auto item : items) {
      const auto length = item_size(item);
      for (int64_t s = 0; s < batch.columns; ++s) {
        const auto token = [&](int64_t place) { return 3 + (item * 7 + place * 11) % 27; };
        batch.source.push_back(s < length ? token(s) : kPadding);
        batch.target.push_back(s < length ? token(s + 1) : kPadding);
      }
      batch.ids.push_back(item);
      batch.lengths.push_back(length);
      batch.tokens += length;
    }
    return batch;
  }
  int64_t tokens() const override {
    int64_t sum = 0;
    for (int64_t item = 0; item < items_; ++item) sum += item_size(item);
    return sum;
  }
  std::string name() const override { return "some sequences"; }

 private:
  int64_t items_;
};

TrainOptions some_options() {
  TrainOptions options;
  options.task.tokens_per_sample = 10;
  options.model.decoder.layers = 2;
  options.model.decoder.embed_dim = 16;
  options.model.decoder.ffn_embed_dim = 32;
  options.model.decoder.attention_heads = 2;
  options.model.dropout = 0.3;
  options.model.attention_dropout = 0.3;
  options.model.activation_dropout = 0.3;
  options.moe.moe_freq = 1;
  options.moe.moe_expert_count = 4;
  options.moe.moe_router = "dts";
  options.routers.get<CapacityOptions>().eval_fraction = -1;
  options.evolution.use_gumbel_softmax = true;
  options.evolution.max_temperature = options.evolution.min_temperature = 0.2;
  options.evolution.switch_to_hard_gumbel_softmax = 100;
  options.dataset.required_batch_size_multiple = 1;
  options.common.seed = 5;
  return options;
}

Gpt some_model(const TrainOptions& options) {
  Gpt model(gpt_options(options, kWords, kPadding, /*shared_expert=*/false));
  model->initialise(5);
  return model;
}

double loss(Gpt& model, TrainOptions options, int64_t batch_size, bool as_trained,
            int64_t updates = 3) {
  options.dataset.batch_size = batch_size;
  const Criterion criterion(options.criterion, kPadding);
  MeterGroup meters;
  const auto sums = evaluate_dataset(
      std::make_shared<SomeSequences>(13), iterator_options(options, /*training=*/false),
      options.criterion,
      [&](const Batch& batch) {
        return evaluate_batch(*model, criterion, options, batch, torch::kCPU, as_trained, updates);
      },
      meters, communicator);
  return sums->loss / static_cast<double>(sums->sample_size);
}

TEST(Validation, DoesNotDependOnItsBatchSizeInEitherRouting) {
  const auto options = some_options();
  auto model = some_model(options);
  for (const bool as_trained : {false, true}) {
    const double one = loss(model, options, 1, as_trained);
    for (const int64_t batch_size : {2, 5, 13}) {
      EXPECT_NEAR(loss(model, options, batch_size, as_trained), one, 1e-6)
          << batch_size << (as_trained ? " as trained" : "");
    }
  }
}

TEST(Validation, AsTrainedSelectsWithTheNoiseOfItsUpdateAndNeverDropsOut) {
  auto options = some_options();
  auto model = some_model(options);
  const double reference = loss(model, options, 4, false), stage = loss(model, options, 4, true);
  EXPECT_GT(std::abs(reference - stage), 1e-4);
  EXPECT_EQ(stage, loss(model, options, 4, true)) << "deterministic";
  EXPECT_NE(stage, loss(model, options, 4, true, /*updates=*/4));
  // The same weights in a model without dropout give the same loss.
  options.model.dropout = options.model.attention_dropout = options.model.activation_dropout = 0.0;
  auto plain = some_model(options);
  EXPECT_EQ(stage, loss(plain, options, 4, true));
}

TEST(Validation, DrawsNoNumbersOfTheTrainingOfThisOrAnotherSeed) {
  auto options = some_options();
  const auto first_numbers = [](NoiseKey key) {
    return philox_row_block(key, philox_key(key), /*token=*/0, /*block=*/0);
  };
  std::set<PhiloxBlock> drawn;
  constexpr int64_t kSeeds = 64;
  for (options.common.seed = 0; options.common.seed < kSeeds; ++options.common.seed) {
    const auto context = evaluation_context(options, /*as_trained=*/true, 7);
    EXPECT_EQ(context.noise.update, 7U);
    EXPECT_FALSE(context.training);
    auto key = context.noise.at(/*layer=*/1, NoiseSite::kGateGumbel);
    drawn.insert(first_numbers(key));
    key.seed = static_cast<uint64_t>(options.common.seed);
    drawn.insert(first_numbers(key));
  }
  EXPECT_EQ(drawn.size(), 2 * kSeeds);
}

TEST(Validation, BatchesAreNumberedByTheSequencesBeforeThem) {
  auto options = some_options();
  options.dataset.batch_size = 5;
  std::vector<int64_t> first;
  MeterGroup meters;
  const auto count = [&](const Batch& batch) {
    first.push_back(batch.first_sequence);
    LossSums sums;
    sums.sample_size = sums.tokens = batch.tokens;
    sums.sequences = static_cast<int64_t>(batch.ids.size());
    sums.batches = 1;
    return sums;
  };
  evaluate_dataset(std::make_shared<SomeSequences>(13), iterator_options(options, false),
                   options.criterion, count, meters, communicator);
  EXPECT_EQ(first, (std::vector<int64_t>{0, 5, 10}));
  first.clear();
  options.dataset.max_valid_steps = 2;
  evaluate_dataset(std::make_shared<SomeSequences>(13), iterator_options(options, false),
                   options.criterion, count, meters, communicator);
  EXPECT_EQ(first.size(), 2U);
}

TEST(Validation, WithoutATargetThereIsNoLoss) {
  auto options = some_options();
  options.dataset.batch_size = 5;
  for (const auto* criterion : {"cross_entropy", "moe_cross_entropy", "masked_lm"}) {
    options.criterion.criterion = criterion;
    MeterGroup meters;
    const auto nothing = [](const Batch&) { return LossSums(); };
    const auto total =
        evaluate_dataset(std::make_shared<SomeSequences>(3), iterator_options(options, false),
                         options.criterion, nothing, meters, communicator);
    ASSERT_TRUE(total.has_value());
    EXPECT_EQ(total->sample_size, 0);
    EXPECT_FALSE(meters.is_known("loss"));
    const auto line = validation_line(meters, *total, options.criterion, 7).to_json();
    for (const auto* key : {"loss", "ppl", "perplexity"}) EXPECT_FALSE(line.contains(key)) << key;
    EXPECT_EQ(line.at("num_updates"), "7");
  }
}

TEST(Validation, AStopBetweenTwoBatchesReturnsNothing) {
  auto options = some_options();
  options.dataset.batch_size = 5;
  int evaluated = 0;
  MeterGroup meters;
  const auto count = [&](const Batch& batch) {
    ++evaluated;
    LossSums sums;
    sums.sample_size = sums.tokens = batch.tokens;
    return sums;
  };
  const auto run = [&](int batches) {
    evaluated = 0;
    return evaluate_dataset(std::make_shared<SomeSequences>(13), iterator_options(options, false),
                            options.criterion, count, meters, communicator,
                            [&] { return evaluated == batches; });
  };
  EXPECT_FALSE(run(0).has_value());
  EXPECT_EQ(evaluated, 0);
  EXPECT_FALSE(run(2).has_value());
  EXPECT_EQ(evaluated, 2);
  EXPECT_TRUE(run(-1).has_value());
  EXPECT_EQ(evaluated, 3);
}

TEST(Validation, TheBestCheckpointIsThatOfAMeasureWhichTheTaskHas) {
  TrainOptions options;
  options.task.task = options.criterion.criterion = "sentence_prediction";
  const auto refusal = [&](const std::string& metric) -> std::string {
    options.checkpoint.best_checkpoint_metric = metric;
    try {
      check_best_metric(options);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  options.task.num_classes = 2;
  for (const auto* metric : {"loss", "accuracy", "mcc"}) EXPECT_EQ(refusal(metric), "") << metric;
  EXPECT_NE(refusal("pearson"), "");
  options.task.num_classes = 3;
  EXPECT_NE(refusal("mcc"), "");
  options.task.num_classes = 1;
  options.criterion.regression_target = true;
  for (const auto* metric : {"loss", "pearson", "spearman"})
    EXPECT_EQ(refusal(metric), "") << metric;
  const auto words = refusal("accuracy");
  for (const auto* part : {"--best-checkpoint-metric accuracy", "--regression-target", "pearson"})
    EXPECT_NE(words.find(part), std::string::npos) << words;
}

TEST(Validation, ThePassesOfEachRoutingHaveTheirTags) {
  const ValidationPass reference{"dev", false}, stage{"dev_stage", true};
  EXPECT_EQ(validation_passes("dev", "reference"), std::vector{reference});
  EXPECT_EQ(validation_passes("dev", "stage"), std::vector{stage});
  EXPECT_EQ(validation_passes("dev", "both"), (std::vector{reference, stage}));
}

TEST(Validation, PaddingIsMarkedOnlyWhereThereIsSome) {
  const SomeSequences data(13);
  const std::vector<int64_t> same = {0, 6}, different = {0, 1};
  EXPECT_FALSE(
      to_device(data.collate(same), kPadding, torch::kCPU).input.source_padding_BS.defined());
  const auto batch = to_device(data.collate(different), kPadding, torch::kCPU);
  EXPECT_EQ(batch.input.source_padding_BS.sum().item<int64_t>(), 5);
  EXPECT_EQ(batch.tokens, 4 + 9);
  EXPECT_EQ(batch.sequences, 2);
}

}  // namespace
}  // namespace evomoe
