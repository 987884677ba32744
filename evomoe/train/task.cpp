#include "evomoe/train/task.h"

#include "evomoe/data/language_model_data.h"
#include "evomoe/data/masked_language_model_data.h"
#include "evomoe/data/sentence_prediction_data.h"

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

namespace {

MaskedLanguageModelDataOptions masked_language_model_options(const TrainOptions& options) {
  const auto& task = options.task;
  MaskedLanguageModelDataOptions masked;
  masked.tokens_per_sample = task.tokens_per_sample;
  masked.break_mode = parse_break_mode(task.sample_break_mode);
  masked.masking = {.mask_prob = task.mask_prob,
                    .leave_unmasked_prob = task.leave_unmasked_prob,
                    .random_token_prob = task.random_token_prob,
                    .freq_weighted_replacement = task.freq_weighted_replacement,
                    .mask_whole_words = task.mask_whole_words,
                    .mask_multiple_length = task.mask_multiple_length,
                    .mask_stdev = task.mask_stdev};
  masked.seed = options.common.seed;
  return masked;
}

SentencePredictionDataOptions sentence_prediction_options(const TrainOptions& options) {
  const auto& task = options.task;
  SentencePredictionDataOptions sentences;
  sentences.num_classes = task.num_classes;
  sentences.regression = options.criterion.regression_target;
  sentences.rows = {.init_token = task.init_token,
                    .separator_token = task.separator_token,
                    .shuffle = !task.no_shuffle,
                    .shorten = parse_shorten_method(task.shorten_method),
                    .max_positions = longest_item(options),
                    .seed = options.common.seed};
  return sentences;
}

}  // namespace

LanguagePairDataOptions language_pair_data_options(const TrainOptions& options) {
  const auto& task = options.task;
  LanguagePairDataOptions pair;
  pair.source_lang = task.source_lang;
  pair.target_lang = task.target_lang;
  pair.upsample_primary = task.upsample_primary;
  pair.pairs.left_pad_source = task.left_pad_source;
  pair.pairs.left_pad_target = task.left_pad_target;
  pair.pairs.truncate_source = task.truncate_source;
  pair.pairs.max_source_positions = longest_source(options);
  pair.pairs.max_target_positions = longest_item(options);
  return pair;
}

std::unique_ptr<TaskData> open_task_data(const std::string& data, TrainOptions& options) {
  const auto& task = options.task.task;
  if (task == "masked_lm")
    return std::make_unique<MaskedLanguageModelData>(data, masked_language_model_options(options));
  if (task == "sentence_prediction")
    return std::make_unique<SentencePredictionData>(data, sentence_prediction_options(options));
  if (task == "translation") {
    auto pair = std::make_unique<LanguagePairData>(data, language_pair_data_options(options));
    options.task.source_lang = pair->source_lang();
    options.task.target_lang = pair->target_lang();
    return pair;
  }
  return std::make_unique<LanguageModelData>(data, language_model_dataset_options(options));
}

Vocabulary vocabulary_of(const TaskData& data) {
  return {data.source_dictionary().size(), data.target_dictionary().size(), Dictionary::kPad};
}

}  // namespace evomoe
