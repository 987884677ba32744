#include "evomoe/train/validation.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "evomoe/base/error.h"
#include "evomoe/train/task.h"
#include "evomoe/train/training_metrics.h"

namespace evomoe {
namespace {

/// One of the run's seed that no site of the training draws with.
uint64_t validation_seed(uint64_t seed) {
  NoiseKey key;
  key.seed = seed;
  key.site = NoiseSite::kValidation;
  const auto words = philox_key(key);
  return (uint64_t{words[1]} << 32) | words[0];
}

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

DeviceBatch to_device(const Batch& batch, int64_t padding_index, torch::Device device) {
  const auto tensor = [&](const std::vector<int64_t>& values, int64_t columns) {
    return torch::tensor(values, torch::kLong).view({batch.rows, columns}).to(device);
  };
  DeviceBatch result;
  auto& input = result.input;
  input.source_BS = tensor(batch.source, batch.columns);
  if (std::reduce(batch.lengths.begin(), batch.lengths.end()) < batch.rows * batch.columns)
    input.source_padding_BS = input.source_BS.eq(padding_index);
  if (!batch.segment.empty()) input.segment_BS = tensor(batch.segment, batch.columns);
  if (!batch.previous_output.empty()) {
    input.previous_BU = tensor(batch.previous_output, batch.target_columns);
    if (batch.tokens < batch.rows * batch.target_columns)
      input.previous_padding_BU = input.previous_BU.eq(padding_index);
  }
  result.target = batch.numbers.empty()
                      ? tensor(batch.target, batch.target_columns)
                      : torch::tensor(batch.numbers).view({batch.rows, 1}).to(device);
  result.sequences = static_cast<int64_t>(batch.ids.size());
  result.tokens = batch.tokens;
  result.few_targets = batch.few_targets;
  return result;
}

EpochIteratorOptions iterator_options(const TrainOptions& options, bool training) {
  const auto& dataset = options.dataset;
  const auto max_tokens =
      training || !dataset.max_tokens_valid ? dataset.max_tokens : dataset.max_tokens_valid;
  const auto batch_size =
      training || !dataset.batch_size_valid ? dataset.batch_size : dataset.batch_size_valid;
  EpochIteratorOptions iterator;
  iterator.limits.max_tokens = max_tokens.value_or(0);
  iterator.limits.max_sentences = batch_size.value_or(0);
  iterator.limits.multiple = dataset.required_batch_size_multiple;
  iterator.max_positions = longest_item(options);
  const auto longer = find_task(options.task.task).length_options(options);
  iterator.positions_option = fmt::format("{}", fmt::join(longer, " or "));
  if (!training && dataset.max_tokens_valid) iterator.tokens_option = "--max-tokens-valid";
  iterator.skip_invalid = training || dataset.skip_invalid_size_inputs_valid_test;
  iterator.seed = options.common.seed;
  iterator.shuffle = training;
  iterator.curriculum = training ? dataset.curriculum : 0;
  if (training) iterator.update_freq = options.optimization.update_freq;
  iterator.num_workers = static_cast<int>(dataset.num_workers);
  return iterator;
}

ForwardContext evaluation_context(const TrainOptions& options, bool as_trained, int64_t updates) {
  ForwardContext context;
  context.route_as_trained = as_trained;
  context.update = updates;
  // Some methods follow their stage in evaluation too (noisy gate weights): that of the last
  // update.
  context.schedule = stage_at(options.evolution, std::max<int64_t>(updates - 1, 0)).schedule;
  context.noise.seed = validation_seed(static_cast<uint64_t>(options.common.seed));
  context.mask_padding_in_moe = options.moe.use_moe_pad_mask;
  context.padded_batch =
      options.dataset.batch_size_valid.value_or(options.dataset.batch_size.value_or(0));
  return context;
}

ForwardContext unpadded_context(const TrainOptions& options, int64_t updates) {
  auto context = evaluation_context(options, /*as_trained=*/false, updates);
  context.padded_batch = 0;
  return context;
}

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
                                         const EpochIteratorOptions& options, int64_t max_steps,
                                         const CriterionOptions& criterion,
                                         const std::function<LossSums(const Batch&)>& evaluate,
                                         MeterGroup& meters, const std::function<bool()>& stop) {
  EpochIterator batches(std::move(dataset), options);
  batches.start_epoch(1);
  LossSums total;
  int64_t sequences = 0;
  for (int64_t step = 0; max_steps < 0 || step < max_steps; ++step) {
    if (stop()) return std::nullopt;
    const auto group = batches.next_update();
    if (!group) break;
    auto batch = group->front();
    batch.first_sequence = sequences;
    sequences += static_cast<int64_t>(batch.ids.size());
    const auto sums = evaluate(batch);
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
