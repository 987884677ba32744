#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "evomoe/data/dataset.h"
#include "evomoe/data/epoch_iterator.h"
#include "evomoe/generate/beam_search.h"
#include "evomoe/models/model.h"
#include "evomoe/parallel/communicator.h"
#include "evomoe/score/bleu.h"
#include "evomoe/score/moses_detokenizer.h"
#include "evomoe/text/byte_bpe.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/train/options.h"

namespace evomoe {

/// The BLEU of --eval-bleu: of what a model translates of a validation set, as fairseq's
/// translation task counts it. Routing is that of evaluation, as in `generate`.
class TranslationBleu {
 public:
  /// `bpe` decodes the symbols of `target`, after their subwords are joined; null: they are text.
  /// Both must outlive it. UsageError for what --eval-bleu-... cannot mean.
  TranslationBleu(const TrainOptions& options, const Dictionary& target, const ByteBpe* bpe);

  /// UsageError when --eval-bleu-args asks for more tokens than a hypothesis may have in a batch.
  void check_lengths(std::shared_ptr<const Dataset> dataset, EpochIteratorOptions options) const;
  /// Forgets what was added.
  void reset() { bleu_ = TextBleu(counting_); }
  /// Translates a batch with an encoder-decoder that has made `updates` updates.
  void add(Model& model, const Batch& batch, int64_t updates);
  /// In percent, over all ranks.
  double score(Communicator& communicator) const;

 private:
  std::string text(const std::vector<int64_t>& tokens, const char* unknown) const;

  TrainOptions options_;
  const Dictionary& target_;
  const ByteBpe* bpe_;
  BeamSearchOptions search_;
  std::optional<MosesDetokenizer> detokenize_;
  TextBleu::Options counting_;
  TextBleu bleu_;
};

}  // namespace evomoe
