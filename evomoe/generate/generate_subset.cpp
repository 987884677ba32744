#include "evomoe/generate/generate_subset.h"

#include <array>
#include <chrono>
#include <ostream>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/data/batching.h"
#include "evomoe/generate/search_arguments.h"
#include "evomoe/parallel/gather_text.h"
#include "evomoe/runtime/compute_threads.h"
#include "evomoe/score/bleu.h"
#include "evomoe/text/text_lines.h"
#include "evomoe/text/token_text.h"
#include "evomoe/train/rank_sums.h"

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
        text_options_(
            {.tokenize = flags.sacrebleu_tokenizer, .lowercase = flags.sacrebleu_lowercase}),
        text_bleu_(text_options_) {}

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

  /// Adds what the other ranks have counted.
  void sum_over(Communicator& communicator) {
    if (communicator.size() == 1) return;
    auto counts = text_ ? text_bleu_.counts() : token_bleu_.counts();
    sum_over_ranks(counts, communicator);
    token_bleu_.reset(/*smooth=*/false);
    text_bleu_ = TextBleu(text_options_);
    text_ ? text_bleu_.add(counts) : token_bleu_.add(counts);
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
  TextBleu::Options text_options_;
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

/// What is counted while sentences are translated.
struct Counts {
  int64_t sentences = 0, tokens = 0;
  double seconds = 0;
  bool has_target = true;

  /// Those of all ranks; `seconds` is the mean.
  void sum_over(Communicator& communicator) {
    std::array<double, 4> sums = {static_cast<double>(sentences), static_cast<double>(tokens),
                                  seconds / communicator.size(), has_target ? 0.0 : 1.0};
    communicator.all_reduce_sum(sums);
    sentences = static_cast<int64_t>(sums[0]);
    tokens = static_cast<int64_t>(sums[1]);
    seconds = sums[2];
    has_target = sums[3] == 0;
  }
};

}  // namespace

void generate_subset(const GenerationModel& model, const Dataset& dataset,
                     const std::string& subset, const GenerateOptions& flags, std::ostream& out,
                     Communicator& communicator) {
  using Clock = std::chrono::steady_clock;
  const auto options = search_options(flags.search, flags, flags.min_len.value_or(1), flags.max_len,
                                      flags.common.seed);
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
  Counts counts;
  /// The lines of a batch's sentences.
  const auto translate = [&](const Batch& batch) {
    const auto begin = Clock::now();
    threads.begin();
    const auto found = hypotheses_of(model, batch, options, flags.prefix_size);
    threads.end(static_cast<double>(tokens_of(found)));
    counts.seconds += std::chrono::duration<double>(Clock::now() - begin).count();
    counts.has_target = counts.has_target && !batch.target.empty();
    std::string lines;
    for (size_t i = 0; i < found.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      ++counts.sentences;
      counts.tokens += static_cast<int64_t>(found[i].front().token.size());
      SentenceText sentence;
      sentence.id = batch.ids[i];
      sentence.source =
          decoded_text(model.bpe, symbol_text(*model.source,
                                              row_without_padding(batch.source, batch.columns, row),
                                              post_process));
      sentence.hypotheses = hypothesis_texts(model, found[i], flags.num_samples, post_process);
      if (counts.has_target) {
        const auto target = row_without_padding(batch.target, batch.target_columns, row);
        sentence.target =
            decoded_text(model.bpe, symbol_text(*model.target, target, post_process, "<<unk>>"));
        score.add(target, *sentence.target, found[i].front().token,
                  sentence.hypotheses.front().text);
      }
      if (!flags.quiet) lines += generate_lines(sentence);
    }
    return lines;
  };
  for (int64_t first = 0; first < batches.size(); first += communicator.size()) {
    const auto own = first + communicator.rank();
    for (const auto& lines : gather_texts(
             own < batches.size() ? translate(dataset.collate(batches[own])) : "", communicator))
      out << lines;
    out.flush();
  }
  counts.sum_over(communicator);
  score.sum_over(communicator);
  if (communicator.rank() > 0) return;
  log().info("NOTE: hypothesis and token scores are output in base 2");
  log().info("{}", translated_line(counts.sentences, counts.tokens, counts.seconds));
  if (!counts.has_target) return;
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
