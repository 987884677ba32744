// masked_lm: some tokens of running text are hidden, and predicted from all others.
#include <algorithm>

#include "evomoe/data/masked_language_model_data.h"
#include "evomoe/train/task.h"
#include "evomoe/train/task_checks.h"

namespace evomoe {
namespace {

class MaskedLm : public Task {
 public:
  MaskedLm()
      : Task({.name = "masked_lm",
              .family = "roberta",
              .samples = true,
              .blocks = true,
              .criterions = {"masked_lm", "moe_masked_lm", "masked_lm_gumbel"}}) {}

  void describe(OptionTable& table, TaskOptions& options) const override {
    options.MaskingOptions::describe(table);
  }

  std::unique_ptr<TaskData> open_data(const std::string& data,
                                      TrainOptions& options) const override {
    const auto& task = options.task;
    MaskedLanguageModelDataOptions masked;
    masked.tokens_per_sample = task.tokens_per_sample;
    masked.break_mode = parse_break_mode(task.sample_break_mode);
    masked.masking = task;
    masked.seed = options.common.seed;
    return std::make_unique<MaskedLanguageModelData>(data, masked);
  }

  void validate(const TrainOptions& options) const override { require_whole_blocks(options); }

  void check(const TrainOptions& options) const override {
    // Other blocks may be shorter, and those that are not are left out as in the reference.
    if (options.task.sample_break_mode == "none" || !options.model.max_positions)
      require_positions(options, longest_item(options), "--max-positions");
  }

  Dictionary load_dictionary(const std::filesystem::path& folder,
                             const std::string&) const override {
    return load_masked_dictionary(folder);
  }

  std::vector<std::string> scoring_options() const override {
    return {"sample-break-mode", "mask-prob", "leave-unmasked-prob", "random-token-prob",
            "mask-whole-words"};
  }

  int64_t most_predicted(const TaskOptions& options, int64_t tokens, int64_t rows) const override {
    // Whole words and spans have as many tokens as they have.
    if (options.mask_whole_words || options.mask_multiple_length > 1) return tokens;
    const auto share = static_cast<int64_t>(options.mask_prob * static_cast<double>(tokens));
    return std::min(tokens, share + rows);
  }
};

}  // namespace

std::unique_ptr<Task> make_masked_lm() { return std::make_unique<MaskedLm>(); }

}  // namespace evomoe
