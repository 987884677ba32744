// supervised_finetuning: the answer to a prompt is predicted, token by token.
#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/data/prompt_answer_data.h"
#include "evomoe/train/task.h"
#include "evomoe/train/task_checks.h"

namespace evomoe {

void SupervisedFinetuningOptions::describe(OptionTable& table) {
  table.add("truncate-prompt", &truncate_prompt,
            "Cuts prompts on their left where an example is longer than tokens-per-sample; not "
            "given: such examples are left out.");
  table.add("pack-examples", &pack_examples,
            "Training: a row holds several whole examples, as many as fit into tokens-per-sample. "
            "Each sees itself alone, as in a row of its own.");
}

namespace {

/// Of a packed row; 0: rows are not packed. A longer one than a micro-batch may have would be left
/// out with all of its examples.
int64_t packed_tokens(const TrainOptions& options) {
  if (!options.task.pack_examples) return 0;
  const auto tokens = options.task.tokens_per_sample;
  return std::min(tokens, options.dataset.max_tokens.value_or(tokens));
}

class SupervisedFinetuning : public Task {
 public:
  SupervisedFinetuning()
      : Task({.name = "supervised_finetuning", .family = "language_model", .samples = true}) {}

  void describe(OptionTable& table, TaskOptions& options) const override {
    options.SupervisedFinetuningOptions::describe(table);
  }

  std::unique_ptr<TaskData> open_data(const std::string& data,
                                      TrainOptions& options) const override {
    return std::make_unique<PromptAnswerData>(
        data,
        PromptAnswerDatasetOptions{.tokens_per_sample = options.task.tokens_per_sample,
                                   .truncate_prompt = options.task.truncate_prompt},
        packed_tokens(options));
  }

  void validate(const TrainOptions& options) const override {
    require_positions(options, options.model.max_target_positions, "--max-target-positions");
    if (options.criterion.ignore_prefix_size > 0) {
      fail_usage(
          "--ignore-prefix-size {} with --task supervised_finetuning: prompts have no loss anyway; "
          "leave it out",
          options.criterion.ignore_prefix_size);
    }
    if (options.task.pack_examples && options.criterion.sentence_avg) {
      fail_usage(
          "--sentence-avg with --pack-examples: a row holds several examples, so that it would not "
          "average over them; leave one of the two out");
    }
  }

  std::shared_ptr<const Dataset> open_sources(TaskData& data,
                                              const std::string& split) const override {
    return dynamic_cast<PromptAnswerData&>(data).open_prompts(split);
  }

  std::vector<std::string> batch_options() const override {
    return {"truncate-prompt", "pack-examples"};  // --max-tokens is one of all tasks
  }
  std::vector<std::string> scoring_options() const override { return {"truncate-prompt"}; }

  std::vector<std::string> length_options(const TrainOptions&) const override {
    return {"--tokens-per-sample"};
  }

  void add_metrics(LogLine& line, const LossSums& sums) const override {
    constexpr int kBehindSentences = 191;  // of the priorities of fairseq's log
    line.add("answer_tokens", static_cast<double>(sums.tokens), kBehindSentences, 0);
  }

  TextRules text_rules(const TaskOptions&) const override {
    return {.continues_source = true, .whole_prompts = true, .answers = true};
  }

  // fairseq has no such task; its models are language models.
  std::string fairseq_name() const override { return "language_modeling"; }
};

}  // namespace

std::unique_ptr<Task> make_supervised_finetuning() {
  return std::make_unique<SupervisedFinetuning>();
}

}  // namespace evomoe
