#include "evomoe/train/criterion.h"

#include <ATen/record_function.h>

#include "evomoe/base/error.h"
#include "evomoe/ops/linear_cross_entropy.h"

namespace evomoe {
namespace {

/// Sum of the named loss over layers; `count` is the number of layers that have it.
torch::Tensor sum_of(const GptOutput& output, const std::string& name, int64_t& count) {
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
std::vector<std::pair<std::string, double>> layer_averages(const GptOutput& output) {
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
  gate += other.gate;
  z += other.z;
  sample_size += other.sample_size;
  tokens += other.tokens;
  sequences += other.sequences;
  batches += other.batches;
  if (metrics.empty()) {
    metrics = other.metrics;
  } else {
    for (size_t i = 0; i < other.metrics.size(); ++i) metrics[i].second += other.metrics[i].second;
  }
  return *this;
}

CriterionResult Criterion::operator()(Gpt& model, const GptOutput& output,
                                      const DeviceBatch& batch) const {
  RECORD_USER_SCOPE("loss");
  const auto x_TD = output.x_BSD.flatten(0, 1);
  CriterionResult result;
  result.loss =
      linear_cross_entropy(x_TD, model->output_weight(), batch.target_BS.flatten(), padding_index_);
  auto& sums = result.sums;
  sums.inner = result.loss.item<double>();
  sums.sample_size = batch.sample_size;
  sums.tokens = batch.tokens;
  sums.sequences = batch.sequences;
  sums.batches = 1;

  const auto scale = static_cast<double>(batch.sample_size);
  int64_t layers = 0;
  if (is_moe()) {
    auto gate = sum_of(output, "balance", layers);
    if (layers > 0) {
      if (options_.moe_gate_loss_combine_method == "average")
        gate = gate / static_cast<double>(layers);
      if (options_.moe_gate_loss_transform == "neg_log") gate = -torch::log(gate);
      gate = gate * scale;
      result.loss = result.loss + options_.moe_gate_loss_wt * gate;
      sums.gate = gate.item<double>();
    }
    sums.metrics = layer_averages(output);
  }
  if (options_.moe_z_loss_wt > 0) {
    auto z = sum_of(output, "z", layers);
    if (layers > 0) {
      z = z * scale;
      result.loss = result.loss + options_.moe_z_loss_wt * z;
      sums.z = z.item<double>();
    }
  }
  sums.loss = result.loss.item<double>();
  return result;
}

}  // namespace evomoe
