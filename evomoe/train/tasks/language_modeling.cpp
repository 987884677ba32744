// language_modeling: each token of running text is predicted from those before it.
#include "evomoe/train/tasks/language_modeling.h"

#include "evomoe/config/option_table.h"
#include "evomoe/data/language_model_data.h"
#include "evomoe/train/task.h"
#include "evomoe/train/task_checks.h"

namespace evomoe {

void LanguageModelingOptions::describe(OptionTable& table) {
  table.add("add-bos-token", &add_bos_token, "Puts <s> before each sequence.");
  table.add("pad-to-fixed-length", &pad_to_fixed_length,
            "Pads each sequence to tokens-per-sample.");
  table.add("pad-to-fixed-bsz", &pad_to_fixed_bsz,
            "Pads each micro-batch to batch-size sequences.");
}

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

class LanguageModeling : public Task {
 public:
  LanguageModeling()
      : Task({.name = "language_modeling",
              .family = "language_model",
              .samples = true,
              .blocks = true}) {}

  void describe(OptionTable& table, TaskOptions& options) const override {
    options.LanguageModelingOptions::describe(table);
  }

  std::unique_ptr<TaskData> open_data(const std::string& data,
                                      TrainOptions& options) const override {
    return std::make_unique<LanguageModelData>(data, language_model_dataset_options(options));
  }

  void validate(const TrainOptions& options) const override {
    const auto& task = options.task;
    // Other blocks may be shorter, and those that are not are left out as in the reference.
    if (task.sample_break_mode == "none" || task.pad_to_fixed_length)
      require_positions(options, options.model.max_target_positions, "--max-target-positions");
    require_whole_blocks(options);
  }

  std::vector<std::string> batch_options() const override { return {"add-bos-token"}; }
  std::vector<std::string> scoring_options() const override {
    return {"sample-break-mode", "add-bos-token"};
  }

  TextRules text_rules(const TaskOptions& options) const override {
    return {.continues_source = true, .running_text = options.sample_break_mode != "eos"};
  }
};

}  // namespace

std::unique_ptr<Task> make_language_modeling() { return std::make_unique<LanguageModeling>(); }

}  // namespace evomoe
