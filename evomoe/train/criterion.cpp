#include "evomoe/train/criterion.h"

#include <ATen/record_function.h>

#include "evomoe/base/error.h"
#include "evomoe/models/roberta.h"

namespace evomoe {
namespace {

/// Sum of the named loss over layers; `count` is the number of layers that have it.
torch::Tensor sum_of(const ModelOutput& output, const std::string& name, int64_t& count) {
  torch::Tensor sum;
  count = 0;
  for (const auto& layer : output.losses) {
    for (const auto& loss : layer) {
      if (loss.name != name) continue;
      const auto value = loss.value.sum();
      sum = sum.defined() ? sum + value : value;
      ++count;
    }
  }
  return sum;
}

/// Each metric averaged over the MoE layers; a layer that does not have it counts as 0.
std::vector<std::pair<std::string, double>> layer_averages(const ModelOutput& output) {
  std::vector<std::pair<std::string, double>> averages;
  for (const auto& name : reference_metric_names()) {
    double sum = 0;
    for (const auto& [layer, stats] : output.stats) {
      for (const auto& [key, value] : stats.reference) {
        if (key == name) sum += value.item<double>();
      }
    }
    averages.emplace_back(
        name, output.stats.empty() ? 0.0 : sum / static_cast<double>(output.stats.size()));
  }
  return averages;
}

torch::Tensor classification_loss(const torch::Tensor& logit_BC, const torch::Tensor& target_B,
                                  LossSums& sums) {
  const auto log_p_BC = torch::log_softmax(logit_BC, 1, torch::kFloat32);
  const auto found_B = logit_BC.argmax(1);
  sums.correct = found_B.eq(target_B).sum().item<int64_t>();
  if (logit_BC.size(1) == 2) {
    const auto counts = (target_B * 2 + found_B).bincount(/*weights=*/{}, 4).to(torch::kCPU);
    for (int64_t i = 0; i < 4; ++i)
      sums.confusion[static_cast<size_t>(i / 2)][static_cast<size_t>(i % 2)] =
          counts[i].item<int64_t>();
  }
  return torch::nll_loss(log_p_BC, target_B, /*weight=*/{}, at::Reduction::Sum);
}

torch::Tensor regression_loss(const torch::Tensor& answer_B, const torch::Tensor& target_B,
                              bool keep_answers, LossSums& sums) {
  if (keep_answers) {
    const auto target = target_B.to(torch::kCPU), answer = answer_B.detach().to(torch::kCPU);
    for (int64_t i = 0; i < target.size(0); ++i)
      sums.answers.emplace_back(target[i].item<float>(), answer[i].item<float>());
  }
  return torch::mse_loss(answer_B, target_B, at::Reduction::Sum);
}

}  // namespace

const std::vector<std::string>& reference_metric_names() {
  static const std::vector<std::string> names = {
      "gumbel_choosed_experts", "overflow_expert1",       "overflow_expert2",
      "entropy_gating",         "expert1_balance_top",    "expert1_balance_bottom",
      "unused_expert1_count",   "expert2_balance_top",    "expert2_balance_bottom",
      "unused_expert2_count",   "all_to_all_cpu_time_ms", "all_to_all_cuda_time_ms"};
  return names;
}

LossSums& LossSums::operator+=(const LossSums& other) {
  loss += other.loss;
  inner += other.inner;
  nll += other.nll;
  gate += other.gate;
  z += other.z;
  sample_size += other.sample_size;
  tokens += other.tokens;
  sequences += other.sequences;
  batches += other.batches;
  predicted += other.predicted;
  correct += other.correct;
  for (size_t i = 0; i < 2; ++i) {
    for (size_t j = 0; j < 2; ++j) confusion[i][j] += other.confusion[i][j];
  }
  answers.insert(answers.end(), other.answers.begin(), other.answers.end());
  if (metrics.empty()) {
    metrics = other.metrics;
  } else {
    for (size_t i = 0; i < other.metrics.size(); ++i) metrics[i].second += other.metrics[i].second;
  }
  return *this;
}

CriterionKind criterion_kind(const std::string& name) {
  using Inner = CriterionKind::Inner;
  using Gate = CriterionKind::Gate;
  static const std::vector<std::pair<std::string, Inner>> inners = {
      {"cross_entropy", Inner::kCrossEntropy},
      {"adaptive_loss", Inner::kCrossEntropy},
      {"masked_lm", Inner::kMaskedLm},
      {"label_smoothed_cross_entropy", Inner::kLabelSmoothed},
      {"sentence_prediction", Inner::kSentencePrediction}};
  for (const auto& [inner, kind] : inners) {
    if (name == inner) return {kind, Gate::kNone};
    if (name == "moe_" + inner) return {kind, Gate::kLoss};
    if (name == inner + "_gumbel") return {kind, Gate::kActive};
  }
  fail_usage("--criterion {} is not known", name);
}

Criterion::Criterion(const CriterionOptions& options, int64_t padding_index,
                     std::string classification_head)
    : options_(options),
      kind_(criterion_kind(options.criterion)),
      padding_index_(padding_index),
      classification_head_(std::move(classification_head)) {}

torch::Tensor Criterion::predict_tokens(Model& model, const torch::Tensor& x_BSD,
                                        const DeviceBatch& batch, const ForwardContext& context,
                                        LossSums& sums) const {
  TokenLossOptions how{.ignore_index = padding_index_};
  if (context.training) {
    how.dropout_noise = context.noise;
    how.dropout_noise->sequence_length = static_cast<uint32_t>(x_BSD.size(1));
  }
  auto x = x_BSD;
  auto target = batch.target;
  EVOMOE_CHECK(target.size(0) == x.size(0) && target.size(1) == x.size(1),
               "a batch of targets {} for features {}: --task and --criterion do not go together",
               c10::str(target.sizes()), c10::str(x.sizes()));
  if (kind_.inner == CriterionKind::Inner::kLabelSmoothed) {
    how.label_smoothing = options_.label_smoothing;
    how.count_correct = options_.report_accuracy;
    if (options_.ignore_prefix_size > 0) {
      x = x.slice(1, options_.ignore_prefix_size);
      target = target.slice(1, options_.ignore_prefix_size);
    }
  }
  auto x_ND = x.flatten(0, 1);
  auto target_N = target.flatten();
  sums.sample_size = options_.sentence_avg ? batch.sequences : batch.tokens;
  const bool masked = kind_.inner == CriterionKind::Inner::kMaskedLm;
  if (masked || batch.few_targets) {
    // The head is for the few tokens that are predicted.
    const auto predicted_N = (target_N != padding_index_).nonzero().squeeze(1);
    x_ND = x_ND.index_select(0, predicted_N);
    target_N = target_N.index_select(0, predicted_N);
    if (masked) sums.sample_size = predicted_N.size(0);
  }
  const auto found = model.token_loss(x_ND, target_N, how);
  sums.nll = found.nll;
  sums.correct = found.correct;
  sums.predicted = (target_N != padding_index_).sum().item<int64_t>();
  return found.loss;
}

torch::Tensor Criterion::predict_sentences(Model& model, const torch::Tensor& x_BSD,
                                           const DeviceBatch& batch, const ForwardContext& context,
                                           LossSums& sums) const {
  auto* roberta = dynamic_cast<RobertaImpl*>(&model);
  EVOMOE_CHECK(roberta != nullptr,
               "--criterion sentence_prediction needs an architecture with a classification head "
               "(--arch roberta_base, ...)");
  const auto logit_BC = roberta->classify(x_BSD, classification_head_, context);
  const auto target_B = batch.target.flatten();
  sums.sample_size = sums.predicted = target_B.size(0);
  const auto loss = options_.regression_target
                        ? regression_loss(logit_BC.flatten().to(torch::kFloat32), target_B,
                                          /*keep_answers=*/!context.training, sums)
                        : classification_loss(logit_BC, target_B, sums);
  sums.nll = loss.item<double>();
  return loss;
}

void Criterion::add_gate_losses(const ModelOutput& output, CriterionResult& result) const {
  auto& sums = result.sums;
  if (kind_.gate != CriterionKind::Gate::kNone) sums.metrics = layer_averages(output);
  // A loss of no weight: its transform may be infinite, and that times 0 is NaN.
  if (sums.sample_size == 0) return;
  const auto scale = static_cast<double>(sums.sample_size);
  int64_t layers = 0;
  if (kind_.gate == CriterionKind::Gate::kLoss) {
    auto gate = sum_of(output, "balance", layers);
    if (layers > 0) {
      if (options_.moe_gate_loss_combine_method == "average")
        gate = gate / static_cast<double>(layers);
      if (options_.moe_gate_loss_transform == "neg_log") gate = -torch::log(gate);
      gate = gate * scale;
      result.loss = result.loss + options_.moe_gate_loss_wt * gate;
      sums.gate = gate.item<double>();
    }
  }
  if (options_.moe_z_loss_wt > 0) {
    auto z = sum_of(output, "z", layers);
    if (layers > 0) {
      z = z * scale;
      result.loss = result.loss + options_.moe_z_loss_wt * z;
      sums.z = z.item<double>();
    }
  }
  for (const auto& layer : output.losses) {
    for (const auto& loss : layer) {
      if (loss.name == "balance" || loss.name == "z") continue;
      result.loss = result.loss + scale * loss.value.sum();  // the method has weighted it
    }
  }
}

CriterionResult Criterion::operator()(Model& model, const ModelOutput& output,
                                      const DeviceBatch& batch,
                                      const ForwardContext& context) const {
  RECORD_USER_SCOPE("loss");
  CriterionResult result;
  auto& sums = result.sums;
  sums.tokens = batch.tokens;
  sums.sequences = batch.sequences;
  sums.batches = 1;
  result.loss = kind_.inner == CriterionKind::Inner::kSentencePrediction
                    ? predict_sentences(model, output.x_BSD, batch, context, sums)
                    : predict_tokens(model, output.x_BSD, batch, context, sums);
  sums.inner = result.loss.item<double>();
  add_gate_losses(output, result);
  sums.loss = result.loss.item<double>();
  return result;
}

}  // namespace evomoe
