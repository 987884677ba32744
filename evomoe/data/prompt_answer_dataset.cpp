#include "evomoe/data/prompt_answer_dataset.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/text/dictionary.h"

namespace evomoe {
namespace {

constexpr const char* kMakeAgain = "make the data again with `evomoe preprocess --examples`";

void check_ends(const TokenStream& stream) {
  int64_t end = 0;
  for (int64_t item = 0; item < stream.items(); ++item) {
    if (stream.item_size(item) > 0) stream.read(stream.offset(item + 1) - 1, std::span(&end, 1));
    EVOMOE_CHECK(stream.item_size(item) > 0 && end == Dictionary::kEos,
                 "{}: item {} does not end with </s>; {}", stream.name(), item, kMakeAgain);
  }
}

/// A batch of these items whose source is padding, as wide as the longest of them.
Batch padded_batch(const Dataset& dataset, std::span<const int64_t> items) {
  Batch batch;
  batch.ids.assign(items.begin(), items.end());
  for (const int64_t item : items) {
    batch.lengths.push_back(dataset.item_size(item));
    batch.columns = std::max(batch.columns, batch.lengths.back());
  }
  batch.rows = static_cast<int64_t>(items.size());
  batch.source.assign(batch.rows * batch.columns, Dictionary::kPad);
  return batch;
}

/// As padded_batch(), with a target of the same shape that is padding but for answers.
Batch padded_rows(const Dataset& dataset, std::span<const int64_t> items) {
  auto batch = padded_batch(dataset, items);
  batch.target_columns = batch.columns;
  batch.target = batch.source;
  batch.few_targets = !items.empty();
  return batch;
}

}  // namespace

PromptAnswerDataset::PromptAnswerDataset(std::shared_ptr<const TokenStream> prompts,
                                         std::shared_ptr<const TokenStream> answers,
                                         const PromptAnswerDatasetOptions& options)
    : prompts_(std::move(prompts)), answers_(std::move(answers)), options_(options) {
  EVOMOE_CHECK(prompts_->items() == answers_->items(),
               "{} has {} prompts, but {} has {} answers; {}", prompts_->name(), prompts_->items(),
               answers_->name(), answers_->items(), kMakeAgain);
  EVOMOE_CHECK(size() > 0, "{}: no example in it; a split needs at least one", name());
  check_ends(*prompts_);
  check_ends(*answers_);
  for (int64_t item = 0; item < size(); ++item) {
    EVOMOE_CHECK(answer_size(item) > 1, "{}: answer {} is empty; {}", answers_->name(), item,
                 kMakeAgain);
  }
}

std::string PromptAnswerDataset::name() const {
  return prompts_->name() + " with " + answers_->name();
}

void PromptAnswerDataset::check_item(int64_t item) const {
  EVOMOE_CHECK(item >= 0 && item < size(), "{} has {} examples; there is no example {}", name(),
               size(), item);
}

int64_t PromptAnswerDataset::prompt_size(int64_t item) const {
  const auto whole = whole_prompt_size(item);
  if (!options_.truncate_prompt) return whole;
  return std::min(whole, std::max<int64_t>(options_.tokens_per_sample - answer_size(item), 0));
}

bool PromptAnswerDataset::fits(int64_t item, int64_t max_positions) const {
  return Dataset::fits(item, max_positions) && item_size(item) <= options_.tokens_per_sample;
}

std::string PromptAnswerDataset::limit(int64_t max_positions) const {
  if (max_positions > 0 && max_positions < options_.tokens_per_sample)
    return Dataset::limit(max_positions);
  return "--tokens-per-sample " + std::to_string(options_.tokens_per_sample);
}

std::vector<int64_t> PromptAnswerDataset::end_of_prompt(int64_t item, int64_t size) const {
  check_item(item);
  auto tokens = prompts_->item(item);
  tokens.pop_back();
  tokens.erase(tokens.begin(), tokens.end() - size);
  return tokens;
}

Batch PromptAnswerDataset::collate(std::span<const int64_t> items) const {
  for (const int64_t item : items) check_item(item);
  auto batch = padded_rows(*this, items);
  for (int64_t row = 0; row < batch.rows; ++row) {
    const auto begin = row * batch.columns;
    write_row(items[row], std::span(batch.source).subspan(begin, batch.lengths[row]),
              std::span(batch.target).subspan(begin, batch.lengths[row]));
    batch.tokens += answer_size(items[row]);
  }
  return batch;
}

void PromptAnswerDataset::write_row(int64_t item, std::span<int64_t> source,
                                    std::span<int64_t> target) const {
  const auto before = prompt(item);
  const auto after = answer(item);
  source[0] = Dictionary::kEos;
  const auto end = std::copy(before.begin(), before.end(), source.begin() + 1);
  std::copy(after.begin(), after.end() - 1, end);
  std::copy(after.begin(), after.end(), target.begin() + static_cast<int64_t>(before.size()));
}

PackedExamplesDataset::PackedExamplesDataset(std::shared_ptr<const PromptAnswerDataset> examples,
                                             int64_t row_tokens)
    : examples_(std::move(examples)) {
  std::vector<int64_t> order(examples_->size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return examples_->item_size(a) > examples_->item_size(b);
  });
  std::set<std::pair<int64_t, int64_t>> room;  // tokens that are left of a row, and the row
  for (const auto example : order) {
    const auto size = examples_->item_size(example);
    const auto found = room.lower_bound({size, 0});
    auto row = static_cast<int64_t>(rows_.size());
    if (found != room.end()) {
      row = found->second;
      room.erase(found);
    } else {
      rows_.emplace_back();
      sizes_.push_back(0);
    }
    rows_[row].push_back(example);
    sizes_[row] += size;
    if (sizes_[row] < row_tokens) room.emplace(row_tokens - sizes_[row], row);
  }
}

bool PackedExamplesDataset::fits(int64_t item, int64_t max_positions) const {
  // Each example has positions of its own.
  return std::ranges::all_of(
      rows_[item], [&](int64_t example) { return examples_->fits(example, max_positions); });
}

Batch PackedExamplesDataset::collate(std::span<const int64_t> items) const {
  auto batch = padded_rows(*this, items);
  batch.segment.assign(batch.source.size(), 0);
  for (int64_t row = 0; row < batch.rows; ++row) {
    int64_t begin = row * batch.columns, segment = 0;
    for (const auto example : rows_[items[row]]) {
      const auto size = examples_->item_size(example);
      examples_->write_row(example, std::span(batch.source).subspan(begin, size),
                           std::span(batch.target).subspan(begin, size));
      std::fill_n(batch.segment.begin() + begin, size, ++segment);
      batch.tokens += examples_->answer_size(example);
      begin += size;
    }
  }
  return batch;
}

int64_t PromptDataset::prompt_size(int64_t item) const {
  const auto whole = examples_->whole_prompt_size(item);
  const auto& [positions, truncate] = examples_->options();
  if (!truncate || 1 + whole + 1 <= positions) return whole;  // </s>, the prompt, a new token
  return std::min(whole, std::max<int64_t>(positions / 2 - 1, 0));
}

Batch PromptDataset::collate(std::span<const int64_t> items) const {
  auto batch = padded_batch(*this, items);
  for (const int64_t item : items) {
    batch.tokens += examples_->answer_size(item);
    batch.target_columns = std::max(batch.target_columns, examples_->answer_size(item));
  }
  batch.target.assign(batch.rows * batch.target_columns, Dictionary::kPad);
  for (int64_t row = 0; row < batch.rows; ++row) {
    const auto prompt = examples_->end_of_prompt(items[row], prompt_size(items[row]));
    const auto answer = examples_->answer(items[row]);
    const auto source = batch.source.begin() + row * batch.columns;
    *source = Dictionary::kEos;
    std::copy(prompt.begin(), prompt.end(), source + 1);
    std::copy(answer.begin(), answer.end(), batch.target.begin() + row * batch.target_columns);
  }
  return batch;
}

}  // namespace evomoe
