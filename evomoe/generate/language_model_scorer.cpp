#include "evomoe/generate/language_model_scorer.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "evomoe/generate/ensemble_steps.h"
#include "evomoe/parallel/gather_text.h"
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

/// Blocks that are scored at once.
struct RowBatch {
  std::vector<Row> rows;
  int64_t longest = 0;
};

/// The log-probabilities of the rows' targets, one after the other.
std::vector<float> score(const std::vector<LoadedModel>& models, const std::vector<Row>& rows) {
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
  std::vector<float> of_targets;
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t i = 0; i < rows[r].target.size(); ++i) {
      if (rows[r].target[i] == Dictionary::kPad) continue;
      of_targets.push_back(
          values[static_cast<int64_t>(r) * batch.columns + static_cast<int64_t>(i)]);
    }
  }
  return of_targets;
}

/// `bytes` are the numbers that score() has returned for the rows.
void visit_rows(const std::vector<Row>& rows, const std::string& bytes,
                const std::function<void(const ScoredBlock&)>& visit) {
  size_t at = 0;
  for (const auto& row : rows) {
    ScoredBlock block;
    block.item = row.item;
    for (const auto token : row.target) {
      if (token == Dictionary::kPad) continue;
      block.token.push_back(token);
      std::memcpy(&block.log_probability.emplace_back(), bytes.data() + at, sizeof(float));
      at += sizeof(float);
    }
    visit(block);
  }
}

}  // namespace

void score_dataset(const std::vector<LoadedModel>& models, const LanguageModelDataset& dataset,
                   const std::vector<int64_t>& items, const ScorerOptions& options,
                   ComputeThreads& threads, Communicator& communicator,
                   const std::function<void(const ScoredBlock&)>& visit) {
  std::vector<RowBatch> batches;  // one for each rank, or as many as are left
  const auto score_batches = [&] {
    const auto rank = static_cast<size_t>(communicator.rank());
    std::string own;
    if (rank < batches.size()) {
      const auto& [rows, longest] = batches[rank];
      threads.begin();
      const auto numbers = score(models, rows);
      threads.end(static_cast<double>(longest) * static_cast<double>(rows.size()));
      own.assign(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(float));
    }
    const auto all = gather_texts(std::move(own), communicator);
    for (size_t i = 0; i < batches.size() && !all.empty(); ++i)
      visit_rows(batches[i].rows, all[i], visit);
    batches.clear();
  };
  std::vector<int64_t> context;
  RowBatch next;
  int64_t count_of_batches = 0;
  const auto end_batch = [&] {
    batches.push_back(std::exchange(next, {}));
    ++count_of_batches;
    if (static_cast<int>(batches.size()) == communicator.size()) score_batches();
  };
  auto positions = std::numeric_limits<int64_t>::max();
  for (const auto& loaded : models) {
    positions = std::min<int64_t>(positions,
                                  loaded.language_model("evomoe eval-lm")->options().max_positions);
  }
  for (const auto item : items) {
    auto row = with_context(item, dataset.item(item), context, options.context_window, positions);
    const auto length = static_cast<int64_t>(row.source.size());
    const auto count = static_cast<int64_t>(next.rows.size());
    const bool rows_full = options.batch_size > 0 && count >= options.batch_size;
    const bool tokens_full =
        options.max_tokens > 0 && std::max(next.longest, length) * (count + 1) > options.max_tokens;
    if (count > 0 && (rows_full || tokens_full)) {
      end_batch();
      if (options.max_batches >= 0 && count_of_batches >= options.max_batches) break;
    }
    next.longest = std::max(next.longest, length);
    next.rows.push_back(std::move(row));
  }
  if (!next.rows.empty()) end_batch();
  if (!batches.empty()) score_batches();
}

}  // namespace evomoe
