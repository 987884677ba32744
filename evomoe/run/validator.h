#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "evomoe/data/epoch_iterator.h"
#include "evomoe/generate/translation_bleu.h"
#include "evomoe/parallel/communicator.h"
#include "evomoe/report/log_line.h"
#include "evomoe/report/meters.h"
#include "evomoe/runtime/compute_threads.h"
#include "evomoe/text/byte_bpe.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/train/criterion.h"
#include "evomoe/train/options.h"
#include "evomoe/train/validation.h"

namespace evomoe {

/// A model as a validation sees it.
struct ValidatedModel {
  Model& model;
  torch::Device device;
  int64_t updates = 0;           ///< completed ones
  std::optional<int64_t> epoch;  ///< of the training that it stands in; nothing outside of one
};

/// What a pass over a validation set has measured, over all ranks.
struct Validation {
  LossSums sums;
  MeterGroup meters;
  LogLine line;  ///< of the meters, the task's metrics, the perplexity
};

/// The validations of a run, and of `evomoe validate`: losses, metrics and with --eval-bleu the
/// BLEU of the passes that --validate-routing asks for (validation_passes).
class Validator {
 public:
  /// `batches`: how those of a set are made. `target` is the dictionary of what the model predicts,
  /// `bpe` what decodes its symbols (null: they are text); both must outlive it. UsageError for
  /// what --eval-bleu-... cannot mean.
  Validator(const TrainOptions& options, EpochIteratorOptions batches, const Dictionary& target,
            const ByteBpe* bpe);

  /// UsageError when --eval-bleu-args asks for more tokens than a hypothesis may have in a batch.
  void check_bleu_lengths(const std::shared_ptr<const Dataset>& dataset) const;

  /// One pass. `stop` is asked before each batch; nothing is returned once it says true. `threads`
  /// measures each batch; null: they are left as they are.
  std::optional<Validation> run(
      const ValidationPass& pass, const std::shared_ptr<const Dataset>& dataset,
      const ValidatedModel& model, Communicator& communicator, ComputeThreads* threads = nullptr,
      const std::function<bool()>& stop = [] { return false; });

 private:
  TrainOptions options_;
  EpochIteratorOptions batches_;
  Criterion criterion_;
  std::optional<TranslationBleu> bleu_;  ///< with --eval-bleu
};

}  // namespace evomoe
