#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "evomoe/report/log_line.h"
#include "evomoe/report/meters.h"
#include "evomoe/train/trainer.h"

/// What the log says of updates and validations: the reference's keys, order and rounding
/// (docs/reference.md sections 5.1 and 8.5), then ours.
namespace evomoe {

/// The loss keys (loss, moe_gate_loss ... inner_loss, nll_loss, ppl, accuracy) of a criterion's
/// sums.
void log_losses(MeterGroup& meters, const LossSums& sums, const CriterionOptions& criterion);

/// The BLEU of a validation, behind the perplexity; to be called after log_losses().
void log_bleu(MeterGroup& meters, double bleu);

/// GLUE's measures of an evaluation, which fairseq does not log: of a classification into two
/// Matthews' correlation (mcc), of a regression Pearson's and Spearman's (pearson, spearman).
void log_correlations(MeterGroup& meters, const LossSums& sums);

/// All keys of one update but the times. `lr` is that of the next update, as the reference logs it.
void log_update(MeterGroup& meters, const UpdateResult& result, const Criterion& criterion,
                int64_t updates, double lr, bool clips);

/// The keys of the reference about the gate, most of which are 0 whatever a router does: the text
/// forms of a line leave out those that are.
const std::vector<std::string>& gate_keys();

/// What the text forms of a training line say of the routers beyond that: dead_experts of all
/// layers together, max_vio of the worst one (largest load / mean - 1), temperature and
/// active_experts of a gate that is annealed. Nothing of layers with one expert.
void add_router_text(LogLine& line, const UpdateResult& result);

/// Per-layer router metrics, as a list: load_min, load_max, load_cv, max_vio, entropy,
/// dropped_share, unrouted_share, dead_experts, active_experts ... `with_load`: also the load of
/// each expert.
nlohmann::ordered_json router_data(const LayerStats& routers, bool with_load);

/// Whether the log line of this number has the load of each expert. Every line has, of up to
/// kLoadsOfALine experts in all layers; of twice as many every second line, and so on: so that the
/// log of a large model does not consist of loads.
bool logs_load(const LayerStats& routers, int64_t line);
inline constexpr int64_t kLoadsOfALine = 1024;

/// Stage, temperature and noise scale.
nlohmann::ordered_json stage_data(const StageState& stage);

/// Mean number of experts a real token uses, over all MoE layers; nothing for a dense model.
std::optional<double> active_experts(const std::vector<std::pair<int64_t, RouterStats>>& routers);

}  // namespace evomoe
