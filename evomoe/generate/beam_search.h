#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace evomoe {

/// What a search asks of a model. The hypotheses are rows; at first there is one for each sentence
/// of the batch.
class NextTokens {
 public:
  virtual ~NextTokens() = default;

  /// Most tokens that the decoder can read; the longest hypothesis has so many, its end included.
  virtual int64_t max_positions() const = 0;

  /// Log-probabilities, float [N,V], of the token after each of N hypotheses, whose last tokens are
  /// `token_N` (int64, on the CPU); the first time, the start of the sentence. The search
  /// overwrites them.
  virtual torch::Tensor next(const torch::Tensor& token_N) = 0;

  /// From now on hypothesis i continues what was the order_N[i]-th (int64, on the CPU). A
  /// hypothesis may come several times, or not at all. Not called where nothing changes.
  virtual void reorder(const torch::Tensor& order_N) = 0;
};

/// Of fairseq's generator, with its flags' names and defaults.
struct BeamSearchOptions {
  int64_t beam = 5;
  double max_len_a = 0;     ///< hypotheses have at most a * x + b tokens before their end,
  int64_t max_len_b = 200;  ///< x: columns of the source
  int64_t min_len = 1;      ///< fewest tokens before the end
  bool normalize = true;    ///< scores are divided by length ^ lenpen, the end counted
  double lenpen = 1;
  double unkpen = 0;            ///< taken off the log-probability of the unknown token
  double temperature = 1;       ///< divides log-probabilities, which are normalised again
  int64_t no_repeat_ngram = 0;  ///< no n tokens in a row come twice; 0: they may
  bool sampling = false;        ///< draws `beam` hypotheses instead of searching for the best
  int64_t sampling_topk = 0;    ///< from the k most probable tokens; 0: from all
  double sampling_topp = 0;     ///< from the fewest tokens that exceed p together; 0: from all
  uint64_t seed = 1;
  int64_t pad_token = 1, end_token = 2, unk_token = 3;
  int64_t start_token = 2;  ///< read before the first token

  /// Throws UsageError naming flag, value and range.
  void validate() const;
};

/// Most tokens of a hypothesis before its end, for sources of so many columns and a decoder of so
/// many positions. UsageError with the flags: fewer than min_len.
int64_t longest_hypothesis(const BeamSearchOptions& options, int64_t source_columns,
                           int64_t max_positions);

/// The sentences of a batch.
struct SearchBatch {
  int64_t sentences = 0;
  int64_t source_columns = 0;  ///< x of max_len_a
  /// Tokens that each hypothesis of a sentence begins with; the end token among them ends it,
  /// padding leaves the token free. Empty: none for any; else one list for each sentence.
  std::vector<std::vector<int64_t>> prefix;
  /// What is read first of each sentence. Empty: BeamSearchOptions::start_token.
  std::vector<int64_t> start;
  /// Numbers of the sentences in the whole data, part of the key of sampling, so that a sentence's
  /// samples do not depend on its batch. Empty: 0, 1, ...
  std::vector<int64_t> ids;
};

/// A finished translation or continuation.
struct Hypothesis {
  std::vector<int64_t> token;           ///< with the end token
  float score = 0;                      ///< log-probability (base e), normalised
  std::vector<float> positional_score;  ///< of each token; their sum is the score before that
};

/// For each sentence its hypotheses, the best first, at most `beam` (and at least one).
///
/// A step takes the 2 * beam best continuations of a sentence (ties: the better hypothesis of the
/// step before, then the lower token). Those of the first `beam` that are an end are finished; the
/// best `beam` that are none go on. A sentence is done when `beam` are finished, or at its greatest
/// length, and then leaves the batch, as hypotheses without a probability do. This is fairseq's
/// SequenceGenerator but for two things which abort there: --no-repeat-ngram-size does not forbid
/// the end, nor what the prefix says.
///
/// Errors: a log-probability that is NaN; a sentence for which nothing could end.
std::vector<std::vector<Hypothesis>> beam_search(NextTokens& model, const SearchBatch& batch,
                                                 const BeamSearchOptions& options);

}  // namespace evomoe
