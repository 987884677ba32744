// What fairseq's SequenceGenerator and its searches BeamSearch and Sampling compute, with lists of
// hypotheses in place of its buffers: a hypothesis that ended or has no probability takes no row.
#include "evomoe/generate/beam_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/base/philox.h"
#include "evomoe/generate/token_candidates.h"

namespace evomoe {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

/// A hypothesis that goes on.
struct Live {
  int64_t sentence = 0;
  int64_t sample = 0;  ///< sampling: its number within the sentence
  int64_t row = 0;     ///< what it continues, among the rows of the step before
  std::vector<int64_t> token;
  std::vector<float> cumulative;  ///< log-probability up to each token

  float score() const { return cumulative.empty() ? 0.0F : cumulative.back(); }
};

class Search {
 public:
  Search(NextTokens& model, const SearchBatch& batch, const BeamSearchOptions& options)
      : model_(model), batch_(batch), options_(options), finished_(size(batch.sentences)) {
    max_len_ = longest_hypothesis(options, batch.source_columns, model.max_positions());
    for (const auto& prefix : batch.prefix)
      prefix_columns_ = std::max(prefix_columns_, static_cast<int64_t>(prefix.size()));
    for (int64_t i = 0; i < batch.sentences; ++i)
      live_.push_back({.sentence = i, .sample = 0, .row = i, .token = {}, .cumulative = {}});
  }

  std::vector<std::vector<Hypothesis>> run() {
    for (int64_t step = 0; !live_.empty(); ++step) take_step(step);
    for (size_t i = 0; i < finished_.size(); ++i) {
      EVOMOE_CHECK(!finished_[i].empty(),
                   "sentence {} of the batch: no hypothesis ended with a probability; the model "
                   "gives the end of a sentence none",
                   i);
      std::stable_sort(finished_[i].begin(), finished_[i].end(),
                       [](const auto& a, const auto& b) { return a.score > b.score; });
    }
    return std::move(finished_);
  }

 private:
  static size_t size(int64_t count) { return static_cast<size_t>(count); }

  int64_t start_of(const Live& hypothesis) const {
    return batch_.start.empty() ? options_.start_token : batch_.start[size(hypothesis.sentence)];
  }

  void take_step(int64_t step) {
    auto log_probability_NV = read(step);
    const auto vocabulary = log_probability_NV.size(1);
    beam_ = std::min(options_.beam, vocabulary - 1);  // padding is never taken
    constrain(log_probability_NV, step);
    const auto candidates = options_.sampling ? sampled(log_probability_NV, step)
                                              : best_tokens(log_probability_NV, 2 * beam_);
    std::vector<Live> next;
    for (size_t begin = 0, end = 0; begin < live_.size(); begin = end) {
      const auto sentence = live_[begin].sentence;
      while (end < live_.size() && live_[end].sentence == sentence) ++end;
      auto going_on = options_.sampling ? extend_samples(begin, end, candidates, step)
                                        : extend_best(begin, end, candidates);
      if (static_cast<int64_t>(finished_[size(sentence)].size()) == beam_) continue;
      for (auto& hypothesis : going_on) next.push_back(std::move(hypothesis));
    }
    live_ = std::move(next);
  }

  /// The model's answer for the last tokens of all live hypotheses.
  torch::Tensor read(int64_t step) {
    const auto rows = static_cast<int64_t>(live_.size());
    std::vector<int64_t> order, last;
    for (const auto& hypothesis : live_) {
      order.push_back(hypothesis.row);
      last.push_back(step == 0 ? start_of(hypothesis) : hypothesis.token.back());
    }
    bool same = rows == rows_;
    for (int64_t i = 0; same && i < rows; ++i) same = order[size(i)] == i;
    if (step > 0 && !same) model_.reorder(torch::tensor(order, torch::kInt64));
    rows_ = rows;
    auto log_probability_NV = model_.next(torch::tensor(last, torch::kInt64)).to(torch::kFloat);
    EVOMOE_CHECK(log_probability_NV.dim() == 2 && log_probability_NV.size(0) == rows,
                 "the model answered {} hypotheses with {} rows of log-probabilities", rows,
                 log_probability_NV.size(0));
    log_probability_NV = tempered(log_probability_NV, options_.temperature);
    EVOMOE_CHECK(!log_probability_NV.isnan().any().item<bool>(),
                 "a log-probability of token {} of a hypothesis is NaN; the checkpoint holds "
                 "values that are not finite, or activations overflow",
                 step);
    return log_probability_NV;
  }

  /// Takes the probability from what may not come.
  void constrain(torch::Tensor& log_probability_NV, int64_t step) const {
    auto& x = log_probability_NV;
    x.select(1, options_.pad_token).fill_(kNone);
    x.select(1, options_.unk_token).sub_(options_.unkpen);
    if (step >= max_len_) {
      x.slice(1, 0, options_.end_token).fill_(kNone);
      x.slice(1, options_.end_token + 1).fill_(kNone);
    } else if (step >= prefix_columns_ && step < options_.min_len) {
      // As fairseq does: a prefix anywhere in the batch suspends the least length.
      x.select(1, options_.end_token).fill_(kNone);
    }
    std::vector<int64_t> banned_row, banned_token;
    for (size_t row = 0; row < live_.size(); ++row) {
      const auto forced = prefix_token(live_[row].sentence, step);
      if (forced != options_.pad_token) {
        auto x_V = x[static_cast<int64_t>(row)];
        EVOMOE_CHECK(forced >= 0 && forced < x_V.size(0),
                     "token {} of a prefix is not in the vocabulary of {}", forced, x_V.size(0));
        const auto kept = x_V[forced].clone();
        x_V.fill_(kNone);
        x_V[forced].copy_(kept);
        continue;
      }
      for (const auto token : repeating(live_[row])) {
        banned_row.push_back(static_cast<int64_t>(row));
        banned_token.push_back(token);
      }
    }
    if (banned_row.empty()) return;
    const auto on_device = [&](const std::vector<int64_t>& values) {
      return torch::tensor(values, torch::kInt64).to(x.device());
    };
    x.index_put_({on_device(banned_row), on_device(banned_token)},
                 torch::full({}, kNone, x.options()));
  }

  /// The token that a sentence must have at this step; padding: any.
  int64_t prefix_token(int64_t sentence, int64_t step) const {
    if (batch_.prefix.empty() || step >= max_len_) return options_.pad_token;
    const auto& prefix = batch_.prefix[size(sentence)];
    return step < static_cast<int64_t>(prefix.size()) ? prefix[size(step)] : options_.pad_token;
  }

  /// Tokens that would make the last n tokens a repetition; the start of the sentence is one.
  std::vector<int64_t> repeating(const Live& hypothesis) const {
    const auto n = options_.no_repeat_ngram;
    std::vector<int64_t> tokens;
    if (n <= 0) return tokens;
    std::vector<int64_t> all = {start_of(hypothesis)};
    all.insert(all.end(), hypothesis.token.begin(), hypothesis.token.end());
    const auto length = static_cast<int64_t>(all.size());
    for (int64_t i = 0; i + n <= length; ++i) {
      if (std::equal(all.begin() + i, all.begin() + i + n - 1, all.end() - (n - 1)) &&
          all[size(i + n - 1)] != options_.end_token)
        tokens.push_back(all[size(i + n - 1)]);
    }
    return tokens;
  }

  Live extended(const Live& hypothesis, size_t row, const TokenCandidate& candidate) const {
    auto next = hypothesis;
    next.row = static_cast<int64_t>(row);
    next.token.push_back(candidate.token);
    next.cumulative.push_back(hypothesis.score() + candidate.log_probability);
    return next;
  }

  void finish(const Live& hypothesis) {
    auto& of_sentence = finished_[size(hypothesis.sentence)];
    if (static_cast<int64_t>(of_sentence.size()) == beam_) return;
    Hypothesis done;
    done.token = hypothesis.token;
    done.score = hypothesis.score();
    if (options_.normalize) {
      done.score /= static_cast<float>(
          std::pow(static_cast<double>(hypothesis.token.size()), options_.lenpen));
    }
    float before = 0;
    for (const auto cumulative : hypothesis.cumulative) {
      done.positional_score.push_back(cumulative - before);
      before = cumulative;
    }
    of_sentence.push_back(std::move(done));
  }

  /// Rows [begin, end) are a sentence's hypotheses. Returns those that go on.
  std::vector<Live> extend_best(size_t begin, size_t end,
                                const std::vector<std::vector<TokenCandidate>>& candidates) {
    struct Choice {
      size_t row;
      TokenCandidate candidate;
      float score;
    };
    std::vector<Choice> choices;
    for (auto row = begin; row < end; ++row) {
      for (const auto& candidate : candidates[row])
        choices.push_back({row, candidate, live_[row].score() + candidate.log_probability});
    }
    std::sort(choices.begin(), choices.end(), [](const auto& a, const auto& b) {
      if (a.score != b.score) return a.score > b.score;
      return std::pair(a.row, a.candidate.token) < std::pair(b.row, b.candidate.token);
    });
    if (choices.size() > size(2 * beam_)) choices.resize(size(2 * beam_));
    std::vector<Live> going_on;
    const bool forced_end =
        prefix_token(live_[begin].sentence, static_cast<int64_t>(live_[begin].token.size())) ==
        options_.end_token;
    for (size_t rank = 0; rank < choices.size(); ++rank) {
      const auto& [row, candidate, score] = choices[rank];
      if (candidate.token != options_.end_token) {
        if (going_on.size() < size(beam_)) going_on.push_back(extended(live_[row], row, candidate));
      } else if (rank < size(beam_)) {
        // A prefix with an end leaves one hypothesis, which stands for the whole beam.
        const auto done = extended(live_[row], row, candidate);
        for (int64_t copy = 0; copy < (forced_end ? beam_ : 1); ++copy) finish(done);
      }
    }
    return going_on;
  }

  std::vector<Live> extend_samples(size_t begin, size_t end,
                                   const std::vector<std::vector<TokenCandidate>>& candidates,
                                   int64_t step) {
    std::vector<Live> going_on;
    for (auto row = begin; row < end; ++row) {
      for (size_t i = 0; i < candidates[row].size(); ++i) {
        auto next = extended(live_[row], row, candidates[row][i]);
        if (step == 0) next.sample = static_cast<int64_t>(i);
        if (next.token.back() == options_.end_token) {
          finish(next);
        } else {
          going_on.push_back(std::move(next));
        }
      }
    }
    return going_on;
  }

  /// One drawn token for each hypothesis; in the first step `beam` for each sentence.
  std::vector<std::vector<TokenCandidate>> sampled(const torch::Tensor& log_probability_NV,
                                                   int64_t step) const {
    const auto values = log_probability_NV.cpu();
    std::vector<std::vector<TokenCandidate>> drawn(live_.size());
    for (size_t row = 0; row < live_.size(); ++row) {
      const auto sentence = live_[row].sentence;
      NoiseKey key;
      key.seed = options_.seed;
      key.site = NoiseSite::kTokenSampling;
      key.first_sequence =
          static_cast<uint32_t>(batch_.ids.empty() ? sentence : batch_.ids[size(sentence)]);
      for (int64_t i = 0; i < (step == 0 ? beam_ : 1); ++i) {
        const auto sample = step == 0 ? i : live_[row].sample;
        const auto bits = philox_row_block(key, philox_key(key), static_cast<uint64_t>(step),
                                           static_cast<uint32_t>(sample))[0];
        const auto candidate =
            sampled_token(values[static_cast<int64_t>(row)], options_.sampling_topk,
                          options_.sampling_topp, unit_open(bits));
        if (candidate.token >= 0) drawn[row].push_back(candidate);
      }
    }
    return drawn;
  }

  NextTokens& model_;
  const SearchBatch& batch_;
  const BeamSearchOptions& options_;
  int64_t max_len_ = 0, prefix_columns_ = 0, beam_ = 0, rows_ = 0;
  std::vector<Live> live_;  // by sentence; within one, the best first
  std::vector<std::vector<Hypothesis>> finished_;
};

}  // namespace

void BeamSearchOptions::validate() const {
  if (beam < 1) fail_usage("--beam {}: it must be at least 1", beam);
  if (max_len_a < 0) fail_usage("--max-len-a {}: it must be at least 0", max_len_a);
  if (min_len < 0) fail_usage("--min-len {}: it must be at least 0", min_len);
  if (!(temperature > 0)) fail_usage("--temperature {}: it must be above 0", temperature);
  if (no_repeat_ngram < 0)
    fail_usage("--no-repeat-ngram-size {}: it must be at least 0", no_repeat_ngram);
  if (sampling_topk < 0)
    fail_usage("--sampling-topk {}: it must be at least 1, or left away for all tokens",
               sampling_topk);
  if (sampling_topp < 0 || sampling_topp > 1)
    fail_usage("--sampling-topp {}: it must be in (0, 1]", sampling_topp);
  if (!sampling && (sampling_topk > 0 || sampling_topp > 0))
    fail_usage("--sampling-topk and --sampling-topp need --sampling");
}

int64_t longest_hypothesis(const BeamSearchOptions& options, int64_t source_columns,
                           int64_t max_positions) {
  const auto asked = static_cast<int64_t>(options.max_len_a * static_cast<double>(source_columns) +
                                          static_cast<double>(options.max_len_b));
  const auto longest = std::min(asked, max_positions - 1);
  if (options.min_len > longest) {
    fail_usage(
        "--min-len {} is more than the {} tokens that a hypothesis may have (--max-len-a {} * {} "
        "source tokens + --max-len-b {}, and {} positions of the decoder); lower it",
        options.min_len, longest, options.max_len_a, source_columns, options.max_len_b,
        max_positions);
  }
  return longest;
}

std::vector<std::vector<Hypothesis>> beam_search(NextTokens& model, const SearchBatch& batch,
                                                 const BeamSearchOptions& options) {
  options.validate();
  const auto sentences = static_cast<size_t>(batch.sentences);
  EVOMOE_CHECK(batch.prefix.empty() || batch.prefix.size() == sentences,
               "{} prefixes for {} sentences: there must be one for each", batch.prefix.size(),
               sentences);
  EVOMOE_CHECK(batch.ids.empty() || batch.ids.size() == sentences,
               "{} ids for {} sentences: there must be one for each", batch.ids.size(), sentences);
  const torch::NoGradGuard no_grad;
  return Search(model, batch, options).run();
}

}  // namespace evomoe
