#include "evomoe/generate/generate_subset.h"

#include <chrono>
#include <ostream>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/data/batching.h"
#include "evomoe/generate/search_arguments.h"
#include "evomoe/runtime/compute_threads.h"
#include "evomoe/score/bleu.h"
#include "evomoe/text/text_lines.h"
#include "evomoe/text/token_text.h"

namespace evomoe {
namespace {

/// BLEU as --scoring says.
class Score {
 public:
  Score(const GenerateOptions& flags, const Dictionary& target)
      : text_(flags.scoring == "sacrebleu"),
        words_(flags.search.post_process.has_value()),
        dictionary_(target),
        token_bleu_({}),
        text_bleu_(
            {.tokenize = flags.sacrebleu_tokenizer, .lowercase = flags.sacrebleu_lowercase}) {}

  void add(const std::vector<int64_t>& target_tokens, const std::string& target,
           const std::vector<int64_t>& tokens, const std::string& text) {
    if (text_) {
      text_bleu_.add(target, text);
    } else if (words_) {
      // Subwords were joined, so the words are numbered anew, as fairseq does.
      token_bleu_.add(numbered(target), numbered(text));
    } else {
      token_bleu_.add(target_tokens, tokens);
    }
  }

  std::string line() const { return text_ ? text_bleu_.result_line() : token_bleu_.result_line(); }
  std::string signature() const { return text_ ? text_bleu_.signature() : ""; }

 private:
  std::vector<int64_t> numbered(const std::string& text) {
    std::vector<int64_t> tokens;
    for_each_word(text, [&](std::string_view word) { tokens.push_back(dictionary_.add(word)); });
    tokens.push_back(Dictionary::kEos);
    return tokens;
  }

  bool text_, words_;
  Dictionary dictionary_;
  TokenBleu token_bleu_;
  TextBleu text_bleu_;
};

BatchLimits batch_limits(const GenerateOptions& flags) {
  const auto& search = flags.search;
  BatchLimits limits;
  limits.max_sentences = search.batch_size.value_or(0);
  limits.max_tokens = search.max_tokens.value_or(search.batch_size ? 0 : 12000);  // as fairseq
  limits.multiple = flags.required_batch_size_multiple;
  return limits;
}

}  // namespace

void generate_subset(const GenerationModel& model, const Dataset& dataset,
                     const std::string& subset, const GenerateOptions& flags, std::ostream& out) {
  using Clock = std::chrono::steady_clock;
  const auto options = search_options(flags);
  const auto& post_process = flags.search.post_process;
  const auto limits = batch_limits(flags);
  auto items = filter_by_size(dataset.ordered_indices(/*seed=*/1), dataset,
                              {.max_positions = model.max_source_positions,
                               .max_tokens = limits.max_tokens,
                               .skip_invalid = flags.skip_invalid_size_inputs_valid_test});
  const auto batches = batch_by_size(
      std::move(items), [&](int64_t item) { return dataset.item_size(item); }, limits);
  Score score(flags, *model.target);
  ComputeThreads threads(flags.common.threads);
  bool has_target = true;
  int64_t sentences = 0, tokens = 0;
  double seconds = 0;
  for (int64_t b = 0; b < batches.size(); ++b) {
    const auto batch = dataset.collate(batches[b]);
    const auto begin = Clock::now();
    threads.begin();
    const auto found = hypotheses_of(model, batch, options, flags.prefix_size);
    threads.end(static_cast<double>(tokens_of(found)));
    seconds += std::chrono::duration<double>(Clock::now() - begin).count();
    has_target = has_target && !batch.target.empty();
    for (size_t i = 0; i < found.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      ++sentences;
      tokens += static_cast<int64_t>(found[i].front().token.size());
      SentenceText sentence;
      sentence.id = batch.ids[i];
      sentence.source =
          decoded_text(model.bpe, symbol_text(*model.source,
                                              row_without_padding(batch.source, batch.columns, row),
                                              post_process));
      sentence.hypotheses = hypothesis_texts(model, found[i], flags.num_samples, post_process);
      if (has_target) {
        const auto target = row_without_padding(batch.target, batch.target_columns, row);
        sentence.target =
            decoded_text(model.bpe, symbol_text(*model.target, target, post_process, "<<unk>>"));
        score.add(target, *sentence.target, found[i].front().token,
                  sentence.hypotheses.front().text);
      }
      if (!flags.quiet) out << generate_lines(sentence);
    }
    out.flush();
  }
  log().info("NOTE: hypothesis and token scores are output in base 2");
  log().info("{}", translated_line(sentences, tokens, seconds));
  if (!has_target) return;
  if (model.bpe != nullptr && flags.scoring != "sacrebleu") {
    log().warn(
        "this BLEU is of {}; use --scoring sacrebleu for the BLEU of 13a words that papers quote",
        post_process ? "text split at spaces" : "BPE tokens, not of words");
  }
  out << fmt::format("Generate {} with beam={}: {}\n", subset, flags.search.beam, score.line());
  out.flush();
  if (!score.signature().empty()) log().info("{}", score.signature());
  EVOMOE_CHECK(out, "the lines cannot be written; the disk may be full");
}

}  // namespace evomoe
