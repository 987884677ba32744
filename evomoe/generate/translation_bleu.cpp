#include "evomoe/generate/translation_bleu.h"

#include <algorithm>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/generate/search_arguments.h"
#include "evomoe/generate/translation_steps.h"
#include "evomoe/text/token_text.h"
#include "evomoe/train/contexts.h"
#include "evomoe/train/eval_bleu.h"
#include "evomoe/train/model_options.h"
#include "evomoe/train/rank_sums.h"

namespace evomoe {
namespace {

BeamSearchOptions search_of(const TrainOptions& options) {
  const auto given = bleu_search(options.task.bleu);
  return search_options(given.search, given, given.min_len.value_or(1), given.max_len,
                        options.common.seed);
}

}  // namespace

TranslationBleu::TranslationBleu(const TrainOptions& options, const Dictionary& target,
                                 const ByteBpe* bpe)
    : options_(options),
      target_(target),
      bpe_(bpe),
      search_(search_of(options)),
      counting_({.tokenize = options.task.bleu.eval_tokenized_bleu ? "none" : "13a"}),
      bleu_(counting_) {
  if (options.task.bleu.eval_bleu_detok == "moses")
    detokenize_.emplace(bleu_detokenizer_language(options.task.bleu));
}

void TranslationBleu::check_lengths(std::shared_ptr<const Dataset> dataset,
                                    EpochIteratorOptions options) const {
  const auto positions = longest_item(options_);
  if (search_.min_len <= std::min(search_.max_len_b, positions - 1)) return;  // whatever the source
  EpochIterator batches(std::move(dataset), std::move(options));
  batches.start_epoch(1);
  while (const auto group = batches.next_update()) {
    try {
      longest_hypothesis(search_, group->front().columns, positions);
    } catch (const UsageError& error) {
      fail_usage("--eval-bleu-args: {}", error.what());
    }
  }
}

void TranslationBleu::add(Model& model, const Batch& batch, int64_t updates) {
  auto pair = std::dynamic_pointer_cast<EncoderDecoderImpl>(model.shared_from_this());
  EVOMOE_CHECK(pair != nullptr, "--eval-bleu needs an encoder-decoder (--task translation)");
  const auto source_BS =
      torch::tensor(batch.source, torch::kLong).view({batch.rows, batch.columns});
  TranslationSteps steps(EncoderDecoder(pair), source_BS, unpadded_context(options_, updates));
  SearchBatch sentences;
  sentences.sentences = batch.rows;
  sentences.source_columns = batch.columns;
  sentences.ids = batch.ids;
  const auto found = beam_search(steps, sentences, search_);
  for (size_t i = 0; i < found.size(); ++i) {
    const auto row = batch.target.begin() + static_cast<int64_t>(i) * batch.target_columns;
    // Two names that no tokenizer splits and that are not equal: an unknown word matches nothing.
    const auto reference = text({row, row + batch.target_columns}, "UNKNOWNTOKENINREF");
    const auto hypothesis = text(found[i].front().token, "UNKNOWNTOKENINHYP");
    bleu_.add(reference, hypothesis);
    if (i > 0 || !options_.task.bleu.eval_bleu_print_samples) continue;
    log().info("example hypothesis: {}", hypothesis);
    log().info("example reference: {}", reference);
  }
}

double TranslationBleu::score(Communicator& communicator) const {
  auto counts = bleu_.counts();
  sum_over_ranks(counts, communicator);
  TextBleu bleu(counting_);
  bleu.add(counts);
  return bleu.score();
}

std::string TranslationBleu::text(const std::vector<int64_t>& tokens, const char* unknown) const {
  const auto symbols =
      symbol_text(target_, tokens, options_.task.bleu.eval_bleu_remove_bpe, unknown);
  const auto decoded = decoded_text(bpe_, symbols);
  return detokenize_ ? (*detokenize_)(decoded) : decoded;
}

}  // namespace evomoe
