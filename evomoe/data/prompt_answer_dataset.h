#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "evomoe/data/dataset.h"
#include "evomoe/data/token_stream.h"

namespace evomoe {

struct PromptAnswerDatasetOptions {
  int64_t tokens_per_sample = 1024;  ///< longer examples do not fit
  /// Prompts are cut on the left, as far as is needed for their example to fit.
  bool truncate_prompt = false;
};

/// Examples to learn answers from: a row is an example p1 .. pm a1 .. an </s> of m tokens of the
/// prompt and n of the answer. As in language modelling the source is what comes before each of its
/// tokens, </s> p1 .. pm a1 .. an. The target is padding where a prompt's token would be predicted,
/// so that the loss is that of the answer and its end alone.
class PromptAnswerDataset : public Dataset {
 public:
  /// Item i of `answers` answers item i of `prompts`; both end with </s>. An Error when their
  /// numbers differ, or an item has no </s> at its end, or an answer has nothing else.
  PromptAnswerDataset(std::shared_ptr<const TokenStream> prompts,
                      std::shared_ptr<const TokenStream> answers,
                      const PromptAnswerDatasetOptions& options);

  int64_t size() const override { return prompts_->items(); }
  /// Tokens of the row.
  int64_t item_size(int64_t item) const override { return prompt_size(item) + answer_size(item); }
  bool fits(int64_t item, int64_t max_positions) const override;
  std::string limit(int64_t max_positions) const override;
  Batch collate(std::span<const int64_t> items) const override;
  /// Of the answers, with their ends.
  int64_t tokens() const override { return answers_->tokens(); }
  std::string name() const override;

  int64_t prompt_size(int64_t item) const;  ///< without its </s>, after cutting
  int64_t answer_size(int64_t item) const { return answers_->item_size(item); }  ///< with its </s>
  int64_t whole_prompt_size(int64_t item) const { return prompts_->item_size(item) - 1; }
  std::vector<int64_t> prompt(int64_t item) const { return end_of_prompt(item, prompt_size(item)); }
  /// The last `size` tokens of the whole prompt without its </s>.
  std::vector<int64_t> end_of_prompt(int64_t item, int64_t size) const;
  std::vector<int64_t> answer(int64_t item) const { return answers_->item(item); }
  /// Writes the item's row of item_size() tokens.
  void write_row(int64_t item, std::span<int64_t> source, std::span<int64_t> target) const;
  const PromptAnswerDatasetOptions& options() const { return options_; }

 private:
  void check_item(int64_t item) const;

  std::shared_ptr<const TokenStream> prompts_, answers_;
  PromptAnswerDatasetOptions options_;
};

/// The same with several whole examples in a row, each with a segment of its own (Batch::segment):
/// the loss is the same, and there is less padding. An example that is longer than a row should be
/// has one of its own.
class PackedExamplesDataset : public Dataset {
 public:
  /// Fills rows up to `row_tokens` by best fit, the longest example first, ties in the order of the
  /// examples.
  PackedExamplesDataset(std::shared_ptr<const PromptAnswerDataset> examples, int64_t row_tokens);

  int64_t size() const override { return static_cast<int64_t>(rows_.size()); }
  int64_t item_size(int64_t item) const override { return sizes_[item]; }
  bool fits(int64_t item, int64_t max_positions) const override;
  std::string limit(int64_t max_positions) const override {
    return examples_->limit(max_positions);
  }
  Batch collate(std::span<const int64_t> items) const override;
  int64_t tokens() const override { return examples_->tokens(); }
  std::string name() const override { return examples_->name(); }

  std::span<const int64_t> examples_in(int64_t item) const override { return rows_[item]; }

 private:
  std::shared_ptr<const PromptAnswerDataset> examples_;
  std::vector<std::vector<int64_t>> rows_;
  std::vector<int64_t> sizes_;  ///< tokens of each row
};

/// The same examples for one who answers: the source is </s> p1 .. pm, the target the answer with
/// its </s>. What is read does not depend on the answer: with truncate_prompt, a prompt that leaves
/// no room in tokens_per_sample for one more token and </s> is cut to the half of it, as `generate
/// --prompt` cuts those that are too long (prompt_window).
class PromptDataset : public Dataset {
 public:
  explicit PromptDataset(std::shared_ptr<const PromptAnswerDataset> examples)
      : examples_(std::move(examples)) {}

  int64_t size() const override { return examples_->size(); }
  int64_t item_size(int64_t item) const override { return 1 + prompt_size(item); }
  Batch collate(std::span<const int64_t> items) const override;
  int64_t tokens() const override { return examples_->tokens(); }
  std::string name() const override { return examples_->name(); }

 private:
  int64_t prompt_size(int64_t item) const;

  std::shared_ptr<const PromptAnswerDataset> examples_;
};

}  // namespace evomoe
