#include "evomoe/train/validation.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/train/batches.h"
#include "evomoe/train/contexts.h"
#include "evomoe/train/rank_sums.h"
#include "evomoe/train/training_metrics.h"

namespace evomoe {
namespace {

/// The keys of a validation's log line.
std::vector<std::string> validation_metrics(const TrainOptions& options) {
  LossSums sums;
  sums.sample_size = sums.batches = sums.tokens = sums.sequences = sums.predicted = 1;
  for (const auto& name : reference_metric_names()) sums.metrics.emplace_back(name, 0.0);
  MeterGroup group;
  log_losses(group, sums, options.criterion);
  if (options.task.bleu.eval_bleu) log_bleu(group, 0);
  sums.confusion[0][0] = options.task.num_classes == 2 ? 1 : 0;
  if (options.criterion.regression_target) sums.answers.emplace_back(0, 0);
  log_correlations(group, sums);
  LogLine line(1);
  group.write(line);
  const auto json = line.to_json();
  std::vector<std::string> names;
  for (const auto& [key, value] : json.items()) {
    if (key != "epoch") names.push_back(key);
  }
  return names;
}

}  // namespace

LossSums evaluate_batch(Model& model, const Criterion& criterion, const TrainOptions& options,
                        const Batch& batch, torch::Device device, bool as_trained,
                        int64_t updates) {
  const torch::NoGradGuard no_grad;
  const auto device_batch = to_device(batch, model.padding_index(), device);
  auto context = evaluation_context(options, as_trained, updates);
  context.noise.first_sequence = static_cast<uint32_t>(batch.first_sequence);
  const auto output = model.forward(device_batch.input, context);
  return criterion(model, output, device_batch, context).sums;
}

std::optional<LossSums> evaluate_dataset(std::shared_ptr<const Dataset> dataset,
                                         const EpochIteratorOptions& options,
                                         const CriterionOptions& criterion,
                                         const std::function<LossSums(const Batch&)>& evaluate,
                                         MeterGroup& meters, Communicator& communicator,
                                         const std::function<bool()>& stop) {
  EpochIterator batches(std::move(dataset), options);
  batches.start_epoch(1);
  LossSums total;
  int64_t sequences = 0;
  for (;;) {
    if (stop()) return std::nullopt;
    const auto group = batches.next_update();
    if (!group) break;
    auto batch = group->front();
    batch.first_sequence += sequences;
    auto sums = evaluate(batch);
    if (batch.stands_in) forget(sums);
    sum_over_ranks(sums, communicator);
    sequences += sums.sequences;
    const auto tokens = static_cast<double>(sums.tokens);
    log_losses(meters, sums, criterion);
    meters.speed("wps", tokens, 90, 1);
    meters.scalar("wpb", tokens, 1, 180, 1);
    meters.scalar("bsz", static_cast<double>(sums.sequences), 1, 190, 1);
    total += sums;
  }
  return total;
}

std::vector<ValidationPass> validation_passes(const std::string& subset,
                                              const std::string& validate_routing) {
  std::vector<ValidationPass> passes;
  if (validate_routing != "stage") passes.push_back({subset, /*as_trained=*/false});
  if (validate_routing != "reference") passes.push_back({subset + "_stage", /*as_trained=*/true});
  return passes;
}

LogLine validation_line(MeterGroup& meters, const LossSums& total,
                        const CriterionOptions& criterion, int64_t updates,
                        std::optional<int64_t> epoch) {
  log_correlations(meters, total);
  meters.scalar("num_updates", static_cast<double>(updates), 0, 200);
  auto line = epoch ? LogLine(*epoch) : LogLine();
  meters.write(line);
  if (criterion_kind(criterion.criterion).inner != CriterionKind::Inner::kSentencePrediction &&
      total.predicted > 0)
    line.add_data("perplexity", std::exp(total.nll / static_cast<double>(total.predicted)));
  return line;
}

void check_best_metric(const TrainOptions& options) {
  if (options.dataset.disable_validation) return;
  const auto& metric = options.checkpoint.best_checkpoint_metric;
  if (metric == "bleu" && !options.task.bleu.eval_bleu) {
    fail_usage(
        "--best-checkpoint-metric bleu: validations have no BLEU without --eval-bleu, which "
        "--task translation has; add it, or use another metric");
  }
  const auto names = validation_metrics(options);
  if (std::find(names.begin(), names.end(), metric) == names.end()) {
    fail_usage(
        "--best-checkpoint-metric {}: a validation with --criterion {}{} has no such value; "
        "allowed are {}",
        metric, options.criterion.criterion,
        options.criterion.regression_target ? " --regression-target" : "", fmt::join(names, ", "));
  }
}

}  // namespace evomoe
