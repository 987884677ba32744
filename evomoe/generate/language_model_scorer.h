#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "evomoe/data/language_model_dataset.h"
#include "evomoe/loading/loaded_model.h"
#include "evomoe/parallel/communicator.h"
#include "evomoe/runtime/compute_threads.h"

namespace evomoe {

struct ScorerOptions {
  /// Tokens of earlier text that each block is scored behind, at most; fewer where the model has no
  /// positions for them.
  int64_t context_window = 0;
  int64_t batch_size = 0;      ///< blocks at once; 0: by max_tokens
  int64_t max_tokens = 36000;  ///< padded tokens at once
  int64_t max_batches = -1;    ///< negative: all
};

/// The log-probability (nats) of every token of a block, in the order of the text.
struct ScoredBlock {
  int64_t item = 0;
  std::vector<int64_t> token;
  std::vector<float> log_probability;
};

/// Scores the blocks `items` of a data set, in their order, which is that of the text; `visit` gets
/// each once, on rank 0. The ranks take turns with the batches, which do not depend on their
/// number. Of several language models the probabilities are averaged. Deterministic.
void score_dataset(const std::vector<LoadedModel>& models, const LanguageModelDataset& dataset,
                   const std::vector<int64_t>& items, const ScorerOptions& options,
                   ComputeThreads& threads, Communicator& communicator,
                   const std::function<void(const ScoredBlock&)>& visit);

}  // namespace evomoe
