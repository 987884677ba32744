#include "evomoe/train/training_metrics.h"

#include <algorithm>
#include <cmath>

#include "evomoe/routing/router_metrics.h"
#include "evomoe/score/correlation.h"

namespace evomoe {
namespace {

// Priorities of fairseq's log: lower comes first.
constexpr int kLoss = 10, kPerplexity = 20, kRouter = 30, kWps = 90, kUps = 100, kWpb = 180,
              kBsz = 190, kNumUpdates = 200, kLr = 300, kGnorm = 400, kClip = 500;

}  // namespace

void log_losses(MeterGroup& meters, const LossSums& sums, const CriterionOptions& criterion) {
  using Inner = CriterionKind::Inner;
  using Gate = CriterionKind::Gate;
  const auto kind = criterion_kind(criterion.criterion);
  const double bits = std::log(2.0);
  // A mean of nothing (an update without a target token) is no value. The reference has NaN, which
  // its means do not see either.
  const auto log_mean = [&](const std::string& key, double sum, int64_t count, int digits,
                            double unit = 1) {
    const auto weight = static_cast<double>(count);
    std::optional<double> mean;
    if (count > 0) mean = sum / weight / unit;
    meters.scalar(key, mean, weight, kLoss, digits);
  };
  log_mean("loss", sums.loss, sums.sample_size, 3, bits);
  if (kind.gate == Gate::kLoss) {
    log_mean("moe_gate_loss", sums.gate, sums.sample_size, 8);
    for (const auto& [name, value] : sums.metrics) {
      if (name == "gumbel_choosed_experts") {
        log_mean("gumbel_avg_experts", value, sums.sample_size, 3);
      } else {
        log_mean(name, value, sums.batches, 3);
      }
    }
  }
  if (kind.gate == Gate::kActive) {
    // masked_lm_gumbel divides by all tokens, cross_entropy_gumbel by those that are predicted.
    const auto by = kind.inner == Inner::kMaskedLm ? sums.tokens : sums.sample_size;
    for (const auto& [name, value] : sums.metrics) {
      if (name == "gumbel_choosed_experts") log_mean("gumbel_avg_experts", value, by, 3);
    }
  }
  const bool by_sentence = sums.sample_size != sums.tokens;
  std::string perplexity_of = "loss";
  const auto log_nll = [&](double value) {
    log_mean("nll_loss", value, sums.tokens, 3, bits);
    perplexity_of = "nll_loss";
  };
  switch (kind.inner) {
    case Inner::kCrossEntropy:
      if (kind.gate == Gate::kLoss) {
        log_mean("inner_loss", sums.inner, sums.sample_size, 3, bits);
        perplexity_of = "inner_loss";
      }
      if (by_sentence) log_nll(sums.nll);
      break;
    case Inner::kMaskedLm:
      break;
    case Inner::kLabelSmoothed:
      if (kind.gate == Gate::kLoss) log_mean("inner_loss", sums.inner, sums.sample_size, 3, bits);
      log_nll(sums.nll);
      break;
    case Inner::kSentencePrediction:
      if (by_sentence) log_nll(sums.inner);
      break;
  }
  if (kind.inner == Inner::kSentencePrediction) {
    if (criterion.regression_target) return;
    log_mean("accuracy", 100.0 * static_cast<double>(sums.correct), sums.sequences, 1);
    return;
  }
  meters.derived("ppl", perplexity_of, perplexity, kPerplexity, 2);
  if (kind.inner == Inner::kLabelSmoothed && criterion.report_accuracy)
    log_mean("accuracy", 100.0 * static_cast<double>(sums.correct), sums.predicted, 3);
}

void log_bleu(MeterGroup& meters, double bleu) { meters.scalar("bleu", bleu, 1, kPerplexity, 2); }

void log_correlations(MeterGroup& meters, const LossSums& sums) {
  const auto log = [&](const char* key, double value) {
    meters.scalar(key, value, 1, kPerplexity, 4);
  };
  if (sums.confusion != decltype(sums.confusion){})
    log("mcc", matthews_correlation(sums.confusion));
  if (sums.answers.empty()) return;
  log("pearson", pearson_correlation(sums.answers));
  log("spearman", spearman_correlation(sums.answers));
}

void log_update(MeterGroup& meters, const UpdateResult& result, const Criterion& criterion,
                int64_t updates, double lr, bool clips) {
  const auto& sums = result.sums;
  const auto tokens = static_cast<double>(sums.tokens);
  log_losses(meters, sums, criterion.options());
  meters.speed("wps", tokens, kWps, 1);
  meters.speed("ups", 1, kUps, 2);
  meters.scalar("wpb", tokens, 1, kWpb, 1);
  meters.scalar("bsz", static_cast<double>(sums.sequences), 1, kBsz, 1);
  meters.scalar("num_updates", static_cast<double>(updates), 0, kNumUpdates);
  meters.scalar("lr", lr, 0, kLr);
  meters.scalar("gnorm", result.gradient_norm, 1, kGnorm, 3);
  if (clips) meters.scalar("clip", result.clip_coefficient < 1 ? 100 : 0, 1, kClip, 1);
}

const std::vector<std::string>& gate_keys() {
  static const auto keys = [] {
    std::vector<std::string> keys = {"moe_gate_loss", "gumbel_avg_experts"};
    const auto& names = reference_metric_names();
    keys.insert(keys.end(), names.begin(), names.end());
    return keys;
  }();
  return keys;
}

void add_router_text(LogLine& line, const UpdateResult& result) {
  double dead = 0, violation = 0;
  bool several = false;
  for (const auto& [layer, stats] : result.routers) {
    const auto metrics = router_metrics(stats);
    several = several || metrics.load_E.size() > 1;
    dead += static_cast<double>(metrics.dead_experts);
    violation = std::max(violation, metrics.max_violation);
  }
  if (!several) return;
  if (const auto temperature = result.stage.schedule.temperature; temperature > 0) {
    line.add_text("temperature", temperature, kRouter, 3);
    line.add_text("active_experts", *active_experts(result.routers), kRouter, 2);
  }
  line.add_text("dead_experts", dead, kRouter, 0);
  line.add_text("max_vio", violation, kRouter, 2);
}

bool logs_load(const LayerStats& routers, int64_t line) {
  int64_t experts = 0;
  for (const auto& [layer, stats] : routers) experts += stats.load_E.size(0);
  return line % std::max<int64_t>((experts + kLoadsOfALine - 1) / kLoadsOfALine, 1) == 0;
}

nlohmann::ordered_json router_data(const LayerStats& routers, bool with_load) {
  auto data = nlohmann::ordered_json::array();
  for (const auto& [layer, stats] : routers) {
    const auto metrics = router_metrics(stats);
    nlohmann::ordered_json entry;
    entry["layer"] = layer;
    entry["active_experts"] = metrics.mean_active;
    entry["load_min"] = metrics.load_min;
    entry["load_max"] = metrics.load_max;
    entry["load_cv"] = metrics.load_cv;
    entry["max_vio"] = metrics.max_violation;
    entry["dead_experts"] = metrics.dead_experts;
    entry["entropy"] = metrics.token_entropy;
    entry["dropped_share"] = metrics.dropped_share;
    entry["unrouted_share"] = metrics.unrouted_share;
    entry["non_argmax_share"] = metrics.non_argmax_share;
    if (with_load && metrics.load_E.size() > 1) entry["load"] = metrics.load_E;
    data.push_back(std::move(entry));
  }
  return data;
}

nlohmann::ordered_json stage_data(const StageState& stage) {
  nlohmann::ordered_json data;
  data["stage"] = stage_name(stage.stage);
  if (stage.schedule.temperature > 0) {
    data["temperature"] = stage.schedule.temperature;
    data["noise_scale"] = stage.schedule.noise_scale;
  }
  return data;
}

std::optional<double> active_experts(const std::vector<std::pair<int64_t, RouterStats>>& routers) {
  if (routers.empty()) return std::nullopt;
  double sum = 0;
  for (const auto& [layer, stats] : routers) sum += router_metrics(stats).mean_active;
  return sum / static_cast<double>(routers.size());
}

}  // namespace evomoe
