#include "evomoe/train/criterion.h"

#include <gtest/gtest.h>

#include <cmath>

#include "evomoe/models/gpt.h"
#include "evomoe/models/roberta.h"
#include "evomoe/train/training_metrics.h"

namespace evomoe {
namespace {

constexpr int64_t kPad = 1;

Gpt some_model() {
  GptOptions options;
  options.vocab_size = 12;
  options.layers = 1;
  options.embed_dim = 8;
  options.ffn_dim = 16;
  options.heads = 2;
  options.max_positions = 8;
  Gpt model(options);
  model->initialise(2);
  return model;
}

/// Features, and the losses of three MoE layers, one without a z-loss.
ModelOutput some_output() {
  torch::manual_seed(3);
  ModelOutput output;
  output.x_BSD = torch::randn({2, 3, 8}).requires_grad_(true);
  const auto value = [](double v) { return torch::tensor(v).requires_grad_(true); };
  output.losses = {{{"balance", value(1.5)}, {"z", value(0.25)}},
                   {{"balance", value(2.0)}},
                   {{"balance", value(4.0)}, {"z", value(0.5)}}};
  for (int64_t layer = 0; layer < 3; ++layer) {
    RouterStats stats;
    stats.reference = {{"entropy_gating", torch::tensor(1.0 + static_cast<double>(layer))}};
    if (layer == 1) stats.reference.emplace_back("overflow_expert1", torch::tensor(6.0));
    output.stats.emplace_back(layer, stats);
  }
  return output;
}

DeviceBatch some_batch() {
  DeviceBatch batch;
  // The last one is padding.
  batch.target = torch::tensor({{4, 5, 2}, {7, 2, 1}}, torch::kInt64);
  batch.sequences = 2;
  batch.tokens = 5;
  return batch;
}

double cross_entropy(Gpt& model, const ModelOutput& output, const DeviceBatch& batch) {
  const auto log_p = torch::log_softmax(torch::matmul(output.x_BSD, model->output_weight().t()), 2);
  const auto target = batch.target.unsqueeze(2);
  return -(log_p.gather(2, target) * target.ne(kPad)).sum().item<double>();
}

CriterionOptions moe(const std::string& combine, const std::string& transform) {
  CriterionOptions options;
  options.criterion = "moe_cross_entropy";
  options.moe_gate_loss_wt = 0.3;
  options.moe_gate_loss_combine_method = combine;
  options.moe_gate_loss_transform = transform;
  return options;
}

TEST(Criterion, CrossEntropySumsOverTargetsAndIgnoresTheRouters) {
  auto model = some_model();
  const auto output = some_output();
  const auto batch = some_batch();
  const auto result = Criterion(CriterionOptions(), kPad)(*model, output, batch, ForwardContext());
  EXPECT_NEAR(result.loss.item<double>(), cross_entropy(model, output, batch), 1e-4);
  EXPECT_EQ(result.sums.loss, result.sums.inner);
  EXPECT_EQ(result.sums.gate, 0);
  EXPECT_EQ(result.sums.sample_size, 5);
  EXPECT_EQ(result.sums.batches, 1);
  EXPECT_TRUE(result.sums.metrics.empty());
}

TEST(Criterion, TheGateLossIsAveragedOrSummedOverLayersThenTransformed) {
  auto model = some_model();
  const auto batch = some_batch();
  for (const std::string combine : {"average", "sum"}) {
    for (const std::string transform : {"none", "neg_log"}) {
      SCOPED_TRACE(combine + " " + transform);
      auto output = some_output();
      const auto result =
          Criterion(moe(combine, transform), kPad)(*model, output, batch, ForwardContext());
      double gate = combine == "average" ? 2.5 : 7.5;
      double slope = (combine == "average" ? 1.0 / 3 : 1.0) * 5 * 0.3;
      if (transform == "neg_log") {
        slope *= -1 / gate;
        gate = -std::log(gate);
      }
      EXPECT_NEAR(result.sums.gate, 5 * gate, 1e-5);
      EXPECT_NEAR(result.sums.loss, result.sums.inner + 0.3 * 5 * gate, 1e-5);
      EXPECT_NEAR(result.sums.inner, cross_entropy(model, output, batch), 1e-4);
      result.loss.backward();
      for (const auto& layer : output.losses) {
        EXPECT_NEAR(layer[0].value.grad().item<double>(), slope, 1e-6);
      }
    }
  }
}

TEST(Criterion, TheZLossIsSummedOverLayersAndAddedByEitherCriterion) {
  auto model = some_model();
  const auto batch = some_batch();
  for (const std::string criterion : {"cross_entropy", "moe_cross_entropy"}) {
    auto options = moe("average", "none");
    options.criterion = criterion;
    options.moe_z_loss_wt = 0.1;
    auto output = some_output();
    const auto result = Criterion(options, kPad)(*model, output, batch, ForwardContext());
    EXPECT_NEAR(result.sums.z, 5 * 0.75, 1e-6);
    const double gate = criterion == "cross_entropy" ? 0 : 0.3 * 5 * 2.5;
    EXPECT_NEAR(result.sums.loss, result.sums.inner + gate + 0.1 * 5 * 0.75, 1e-5);
    result.loss.backward();
    EXPECT_NEAR(output.losses[2][1].value.grad().item<double>(), 0.5, 1e-6);
  }
}

TEST(Criterion, AMethodsOwnLossesAreAddedAsTheyAreByEitherCriterion) {
  auto model = some_model();
  const auto batch = some_batch();
  for (const std::string criterion : {"cross_entropy", "moe_cross_entropy"}) {
    auto options = moe("average", "none");
    options.criterion = criterion;
    auto output = some_output();
    auto own = torch::tensor(0.125).requires_grad_(true);
    output.losses[1].push_back({"sequence_balance", own});
    const auto result = Criterion(options, kPad)(*model, output, batch, ForwardContext());
    const double gate = criterion == "cross_entropy" ? 0 : 0.3 * 5 * 2.5;
    EXPECT_NEAR(result.sums.loss, result.sums.inner + gate + 5 * 0.125, 1e-5);
    result.loss.backward();
    EXPECT_NEAR(own.grad().item<double>(), 5, 1e-6);
  }
}

TEST(Criterion, MetricsAreAveragedOverAllLayersAndMissingOnesCountAsZero) {
  auto model = some_model();
  const Criterion criterion(moe("sum", "none"), kPad);
  auto sums = criterion(*model, some_output(), some_batch(), ForwardContext()).sums;
  ASSERT_EQ(sums.metrics.size(), reference_metric_names().size());
  for (size_t i = 0; i < sums.metrics.size(); ++i) {
    const auto& [name, value] = sums.metrics[i];
    EXPECT_EQ(name, reference_metric_names()[i]);
    EXPECT_NEAR(value, name == "entropy_gating" ? 2 : name == "overflow_expert1" ? 2 : 0, 1e-6);
  }
  const auto once = sums;
  sums += once;
  EXPECT_EQ(sums.metrics[3].second, 2 * once.metrics[3].second);
  EXPECT_EQ(sums.sample_size, 10);
  EXPECT_EQ(sums.batches, 2);
  EXPECT_EQ(sums.loss, 2 * once.loss);
}

TEST(Criterion, AModelWithoutRouterLossesHasNoGateLoss) {
  auto model = some_model();
  auto output = some_output();
  output.losses.clear();
  output.stats.clear();
  const auto sums =
      Criterion(moe("average", "neg_log"), kPad)(*model, output, some_batch(), ForwardContext())
          .sums;
  EXPECT_EQ(sums.gate, 0);
  EXPECT_EQ(sums.loss, sums.inner);
}

/// One number of each row: 2 x0 - x1 + 0.5 of its first token's features x.
Roberta linear_head() {
  RobertaOptions options;
  options.vocab_size = 12;
  options.layers = 1;
  options.embed_dim = 2;
  options.ffn_dim = 4;
  options.heads = 1;
  options.max_positions = 8;
  options.heads_of_sentences = {{.name = "score", .classes = 1, .activation = "linear"}};
  Roberta model(options);
  const torch::NoGradGuard no_grad;
  auto parameters = model->named_parameters();
  const std::string head = "classification_heads.score.";
  parameters[head + "dense.weight"].copy_(torch::eye(2));
  parameters[head + "dense.bias"].zero_();
  parameters[head + "out_proj.weight"].copy_(torch::tensor({{2.0F, -1.0F}}));
  parameters[head + "out_proj.bias"].fill_(0.5);
  return model;
}

TEST(Criterion, OfARegressionIsTheSumOfSquaredErrors) {
  auto model = linear_head();
  ModelOutput output;
  // Answers 2.5, -0.5 and 0.5.
  output.x_BSD = torch::tensor(
      {{{1.0F, 0.0F}, {9.0F, 9.0F}}, {{0.0F, 1.0F}, {9.0F, 9.0F}}, {{0.0F, 0.0F}, {9.0F, 9.0F}}});
  DeviceBatch batch;
  batch.target = torch::tensor({{2.0F}, {0.5F}, {0.5F}});
  batch.sequences = 3;
  batch.tokens = 6;
  CriterionOptions options;
  options.criterion = "sentence_prediction";
  options.regression_target = true;
  const Criterion criterion(options, kPad, "score");
  const auto result = criterion(*model, output, batch, ForwardContext());
  EXPECT_NEAR(result.sums.loss, 0.25 + 1, 1e-6);
  EXPECT_EQ(result.sums.nll, result.sums.loss);
  EXPECT_EQ(result.sums.sample_size, 3);
  EXPECT_EQ(result.sums.answers,
            (std::vector<std::pair<float, float>>{{2.0F, 2.5F}, {0.5F, -0.5F}, {0.5F, 0.5F}}));
  result.loss.backward();
  const auto gradient =
      model->named_parameters()["classification_heads.score.out_proj.bias"].grad();
  EXPECT_NEAR(gradient.item<double>(), 2 * (0.5 - 1.0), 1e-6);

  MeterGroup meters;
  log_losses(meters, result.sums, options);
  EXPECT_NEAR(meters.value("loss"), 1.25 / 3 / std::log(2.0), 1e-6);
  EXPECT_NEAR(meters.value("nll_loss"), 1.25 / 6 / std::log(2.0), 1e-6);
  EXPECT_FALSE(meters.has("accuracy"));
  EXPECT_FALSE(meters.has("ppl"));

  ForwardContext training;
  training.training = true;
  EXPECT_TRUE(criterion(*model, output, batch, training).sums.answers.empty());
}

}  // namespace
}  // namespace evomoe
