#include "evomoe/train/task.h"

#include "evomoe/base/error.h"
#include "evomoe/data/language_model_data.h"
#include "evomoe/data/language_pair_data.h"
#include "evomoe/data/masked_language_model_data.h"

namespace evomoe {

LanguageModelDatasetOptions language_model_dataset_options(const TrainOptions& options) {
  LanguageModelDatasetOptions dataset;
  dataset.tokens_per_sample = options.task.tokens_per_sample;
  dataset.break_mode = parse_break_mode(options.task.sample_break_mode);
  dataset.add_bos_token = options.task.add_bos_token;
  dataset.pad_to_fixed_length = options.task.pad_to_fixed_length;
  dataset.pad_to_batch_size =
      options.task.pad_to_fixed_bsz ? options.dataset.batch_size.value_or(0) : 0;
  return dataset;
}

MaskedLanguageModelOptions masked_language_model_options(const TrainOptions& options) {
  const auto& task = options.task;
  MaskedLanguageModelOptions masked;
  masked.tokens_per_sample = task.tokens_per_sample;
  masked.break_mode = parse_break_mode(task.sample_break_mode);
  masked.masking = {.mask_prob = task.mask_prob,
                    .leave_unmasked_prob = task.leave_unmasked_prob,
                    .random_token_prob = task.random_token_prob,
                    .freq_weighted_replacement = task.freq_weighted_replacement,
                    .mask_multiple_length = task.mask_multiple_length,
                    .mask_stdev = task.mask_stdev,
                    .word_begins = {}};
  masked.mask_whole_words = task.mask_whole_words;
  masked.seed = options.common.seed;
  return masked;
}

LanguagePairOptions language_pair_options(const TrainOptions& options) {
  const auto& task = options.task;
  return {.left_pad_source = task.left_pad_source,
          .left_pad_target = task.left_pad_target,
          .truncate_source =
              task.truncate_source ? options.model.max_source_positions.value_or(1024) : 0};
}

std::unique_ptr<TaskData> open_task_data(const std::string& data, TrainOptions& options) {
  const auto& task = options.task.task;
  if (task == "language_modeling")
    return std::make_unique<LanguageModelData>(data, language_model_dataset_options(options));
  if (task == "masked_lm")
    return std::make_unique<MaskedLanguageModelData>(data, masked_language_model_options(options));
  if (task == "translation") {
    const auto folder = split_data_paths(data).front();
    if (!options.task.source_lang || !options.task.target_lang) {
      const auto [first, second] = languages_of(folder);
      if (!options.task.source_lang)
        options.task.source_lang = options.task.target_lang == first ? second : first;
      if (!options.task.target_lang)
        options.task.target_lang = options.task.source_lang == first ? second : first;
    }
    return std::make_unique<LanguagePairData>(data, *options.task.source_lang,
                                              *options.task.target_lang,
                                              language_pair_options(options),
                                              options.task.upsample_primary);
  }
  fail_usage("--task {} is not there yet", task);
}

Vocabulary vocabulary_of(const TaskData& data) {
  return {data.source_dictionary().size(), data.target_dictionary().size(), Dictionary::kPad};
}

}  // namespace evomoe
