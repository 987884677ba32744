#include <algorithm>
#include <map>
#include <memory>
#include <optional>

#include "evomoe/base/error.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/cli/command_ranks.h"
#include "evomoe/cli/parse.h"
#include "evomoe/generate/evaluation_options.h"
#include "evomoe/loading/loaded_model.h"
#include "evomoe/run/ranks.h"
#include "evomoe/run/validator.h"
#include "evomoe/runtime/compute_threads.h"
#include "evomoe/train/batches.h"
#include "evomoe/train/model_options.h"
#include "evomoe/train/task.h"
#include "evomoe/train/training_metrics.h"

namespace evomoe {

namespace {

/// Takes what the command line says of the longest sequence, of which the model decides the most.
/// Returns what holds.
int64_t limit(std::optional<int64_t>& positions, const std::optional<int64_t>& given, int64_t most,
              const std::string& option, const LoadedModel& loaded) {
  if (!given) return most;
  const auto options = positions_options(loaded.options);
  if (std::find(options.begin(), options.end(), option) == options.end()) {
    log().info("{} {} has no effect: {} has no such positions", option, *given,
               loaded.path.string());
    return most;
  }
  if (*given > most) {
    log().warn("{} {}: more positions than {} has; using the model's {}", option, *given,
               loaded.path.string(), most);
    return most;
  }
  positions = given;
  return *given;
}

}  // namespace

int validate_command(const std::vector<std::string>& arguments) {
  ValidateOptions flags;
  OptionTable table("validate", command_summary("validate"));
  flags.describe(table);
  if (!parse_quietly(table, arguments)) return 0;
  validate_options(flags);
  const auto [place, exit_code] = rank_of_command("validate", arguments, flags.distributed,
                                                  flags.common, [&] { validate_options(flags); });
  if (exit_code) return *exit_code;
  tell_notices(table);
  auto loaded =
      load_model(flags.path, {.data = flags.data,
                              .eval_capacity_fraction = flags.moe_eval_capacity_token_fraction,
                              .dtype = flags.dtype,
                              .common = flags.common});
  auto options = loaded.options;
  if (flags.max_tokens || flags.batch_size) {
    options.dataset.max_tokens_valid = options.dataset.max_tokens = flags.max_tokens;
    options.dataset.batch_size_valid = options.dataset.batch_size = flags.batch_size;
  }
  if (flags.tokens_per_sample) options.task.tokens_per_sample = *flags.tokens_per_sample;
  if (flags.sample_break_mode) options.task.sample_break_mode = *flags.sample_break_mode;
  options.dataset.num_workers = flags.num_workers;
  if (flags.skip_invalid_size_inputs_valid_test)
    options.dataset.skip_invalid_size_inputs_valid_test = true;
  if (flags.required_batch_size_multiple)
    options.dataset.required_batch_size_multiple = *flags.required_batch_size_multiple;
  limit(options.model.max_source_positions, flags.max_source_positions,
        longest_source(loaded.options), "--max-source-positions", loaded);
  // The model's, whatever --tokens-per-sample is now.
  auto positions = longest_item(loaded.options);
  positions = limit(options.model.max_target_positions, flags.max_target_positions, positions,
                    "--max-target-positions", loaded);
  positions =
      limit(options.model.max_positions, flags.max_positions, positions, "--max-positions", loaded);
  if (flags.truncate_source) {
    loaded.encoder_decoder("--truncate-source");
    options.task.truncate_source = true;
  }
  if (flags.bleu.eval_bleu) {
    loaded.encoder_decoder("evomoe validate --eval-bleu");
    options.task.bleu = flags.bleu;
  }
  const auto data = open_task_data(flags.data, options);
  auto iterator = iterator_options(options, /*training=*/false, place);
  iterator.max_batches = flags.max_valid_steps.value_or(-1);
  iterator.max_positions = positions;
  iterator.positions_option.clear();
  iterator.tokens_option = "--max-tokens";
  Validator validator(options, iterator, loaded.dictionary, loaded.bpe.get());
  std::map<std::string, std::shared_ptr<const Dataset>> datasets;
  auto facts = model_facts(loaded);
  for (const auto& subset : flags.valid_subset) {
    datasets[subset] = data->open(subset, /*combine=*/false, /*pad_to_batch_size=*/0);
    facts["the data of " + subset] = data_fact(*datasets[subset]);
  }
  const auto communicator = join_command(place, table, flags.distributed, facts);
  ComputeThreads threads(flags.common.threads);
  for (const auto& subset : flags.valid_subset) {
    const auto& dataset = datasets.at(subset);
    for (const auto& pass : validation_passes(subset, flags.validate_routing)) {
      if (!pass.as_trained) validator.check_bleu_lengths(dataset);
      const auto found = validator.run(
          pass, dataset,
          {.model = *loaded.model, .device = loaded.device, .updates = loaded.updates, .epoch = {}},
          *communicator, &threads);
      EVOMOE_CHECK(found->sums.sample_size > 0,
                   "{}: no token of it is a target, so that there is no loss to compute; validate "
                   "on another split (--valid-subset) or on more of it",
                   dataset->name());
      if (place.rank > 0) continue;
      const auto& line = found->line;
      const bool json = flags.common.log_format == "json";
      fmt::print("{} | INFO | {} | {}\n", timestamp(), pass.tag,
                 json ? line.json_text(pass.tag + "_")
                      : line.without_zeros(gate_keys()).bar_text(validation_heading(pass.tag)));
    }
  }
  return 0;
}

}  // namespace evomoe
