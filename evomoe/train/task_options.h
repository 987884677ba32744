#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "evomoe/data/token_masking.h"
#include "evomoe/train/eval_bleu.h"

namespace evomoe {

class OptionTable;

// The options of each task, which its file in train/tasks describes.

struct LanguageModelingOptions {
  bool add_bos_token = false;
  bool pad_to_fixed_length = false;
  bool pad_to_fixed_bsz = false;

  void describe(OptionTable& table);
};

struct TranslationOptions {
  std::optional<std::string> source_lang, target_lang;  ///< not given: from the files' names
  bool left_pad_source = true;
  bool left_pad_target = false;
  bool truncate_source = false;  ///< to max_source_positions
  int64_t upsample_primary = 1;  ///< times that `train` is read beside train1, train2, ...
  EvalBleuOptions bleu;

  void describe(OptionTable& table);
};

struct SentencePredictionOptions {
  int64_t num_classes = -1;
  std::optional<int64_t> init_token;       ///< put before a row; not given: none
  std::optional<int64_t> separator_token;  ///< put between the two sentences of a row
  std::string classification_head_name = "sentence_classification_head";
  bool no_shuffle = false;
  std::string shorten_method = "none";  ///< none | truncate | random_crop

  void describe(OptionTable& table);
};

struct SupervisedFinetuningOptions {
  bool truncate_prompt = false;  ///< prompts are cut on the left, to tokens_per_sample
  bool pack_examples = false;    ///< a row of training holds several examples

  void describe(OptionTable& table);
};

/// What is trained and how text is cut into sequences.
struct TaskOptions : LanguageModelingOptions,
                     MaskingOptions,
                     TranslationOptions,
                     SentencePredictionOptions,
                     SupervisedFinetuningOptions {
  std::string task = "language_modeling";  ///< a name of train/task.h
  // of several tasks
  int64_t tokens_per_sample = 1024;        ///< longest sequence
  std::string sample_break_mode = "none";  ///< none | complete | complete_doc | eos

  /// `arch`, which must outlive the table, decides about the task that is not given.
  void describe(OptionTable& table, const std::string& arch);
};

}  // namespace evomoe
