#include "evomoe/generate/language_model_scorer.h"

#include <algorithm>
#include <limits>

#include "evomoe/generate/ensemble_steps.h"
#include "evomoe/train/batches.h"
#include "evomoe/train/contexts.h"

namespace evomoe {
namespace {

/// A block behind the last tokens of the text before it, which are read but not scored (their
/// target is padding).
struct Row {
  int64_t item;
  std::vector<int64_t> source, target;
};

Row with_context(int64_t item, LanguageModelDataset::Item block, std::vector<int64_t>& context,
                 int64_t window, int64_t max_positions) {
  const auto room = max_positions - static_cast<int64_t>(block.source.size());
  const auto excess = static_cast<int64_t>(context.size()) - std::max<int64_t>(room, 0);
  if (excess > 0) context.erase(context.begin(), context.begin() + excess);
  Row row{item, context, std::vector<int64_t>(context.size(), Dictionary::kPad)};
  row.source.insert(row.source.end(), block.source.begin(), block.source.end());
  row.target.insert(row.target.end(), block.target.begin(), block.target.end());
  if (window > 0) {
    const auto keep = std::min<size_t>(static_cast<size_t>(window), row.source.size());
    context.assign(row.source.end() - static_cast<int64_t>(keep), row.source.end());
  }
  return row;
}

void score(const std::vector<LoadedModel>& models, const std::vector<Row>& rows,
           const std::function<void(const ScoredBlock&)>& visit) {
  Batch batch;
  batch.rows = static_cast<int64_t>(rows.size());
  for (const auto& row : rows) {
    batch.columns = std::max<int64_t>(batch.columns, static_cast<int64_t>(row.source.size()));
    batch.tokens += static_cast<int64_t>(row.source.size());
    batch.ids.push_back(row.item);
    batch.lengths.push_back(static_cast<int64_t>(row.source.size()));
  }
  batch.target_columns = batch.columns;
  const auto cells = static_cast<size_t>(batch.rows * batch.columns);
  batch.source.assign(cells, Dictionary::kPad);
  batch.target.assign(cells, Dictionary::kPad);
  for (size_t r = 0; r < rows.size(); ++r) {
    const auto at = static_cast<int64_t>(r) * batch.columns;
    std::copy(rows[r].source.begin(), rows[r].source.end(), batch.source.begin() + at);
    std::copy(rows[r].target.begin(), rows[r].target.end(), batch.target.begin() + at);
  }
  const torch::NoGradGuard no_grad;
  const auto device_batch = to_device(batch, Dictionary::kPad, models.front().device);
  std::vector<torch::Tensor> log_probability_M;
  for (const auto& loaded : models) {
    const auto context = unpadded_context(loaded.options, loaded.updates);
    const auto output = loaded.model->forward(device_batch.input, context);
    log_probability_M.push_back(loaded.model->log_probability_of(output.x_BSD.flatten(0, 1),
                                                                 device_batch.target.flatten()));
  }
  const auto log_probability = log_mean_probability(log_probability_M).to(torch::kCPU).contiguous();
  const auto* values = log_probability.data_ptr<float>();
  for (size_t r = 0; r < rows.size(); ++r) {
    ScoredBlock block;
    block.item = rows[r].item;
    for (size_t i = 0; i < rows[r].target.size(); ++i) {
      if (rows[r].target[i] == Dictionary::kPad) continue;
      block.token.push_back(rows[r].target[i]);
      block.log_probability.push_back(
          values[static_cast<int64_t>(r) * batch.columns + static_cast<int64_t>(i)]);
    }
    visit(block);
  }
}

}  // namespace

void score_dataset(const std::vector<LoadedModel>& models, const LanguageModelDataset& dataset,
                   const std::vector<int64_t>& items, const ScorerOptions& options,
                   ComputeThreads& threads, const std::function<void(const ScoredBlock&)>& visit) {
  const auto score_rows = [&](const std::vector<Row>& rows, int64_t longest) {
    threads.begin();
    score(models, rows, visit);
    threads.end(static_cast<double>(longest) * static_cast<double>(rows.size()));
  };
  std::vector<int64_t> context;
  std::vector<Row> rows;
  int64_t longest = 0, batches = 0;
  auto positions = std::numeric_limits<int64_t>::max();
  for (const auto& loaded : models) {
    positions = std::min<int64_t>(positions,
                                  loaded.language_model("evomoe eval-lm")->options().max_positions);
  }
  for (const auto item : items) {
    auto row = with_context(item, dataset.item(item), context, options.context_window, positions);
    const auto length = static_cast<int64_t>(row.source.size());
    const auto count = static_cast<int64_t>(rows.size());
    const bool rows_full = options.batch_size > 0 && count >= options.batch_size;
    const bool tokens_full =
        options.max_tokens > 0 && std::max(longest, length) * (count + 1) > options.max_tokens;
    if (count > 0 && (rows_full || tokens_full)) {
      score_rows(rows, longest);
      rows.clear();
      longest = 0;
      if (options.max_batches >= 0 && ++batches >= options.max_batches) return;
    }
    longest = std::max(longest, length);
    rows.push_back(std::move(row));
  }
  if (!rows.empty()) score_rows(rows, longest);
}

}  // namespace evomoe
