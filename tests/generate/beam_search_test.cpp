#include "evomoe/generate/beam_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>

#include "evomoe/base/error.h"
#include "evomoe/generate/token_candidates.h"

namespace evomoe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Tokens = std::vector<int64_t>;

constexpr int64_t kEnd = 2, kToyVocabulary = 8;

/// Gives each text (the sentence's number first) log-probabilities from a function, and remembers
/// how many rows it was asked for.
class ToyModel : public NextTokens {
 public:
  using Distribution = std::function<std::vector<float>(const Tokens& text)>;
  ToyModel(int64_t sentences, Distribution distribution, int64_t positions = 50)
      : distribution_(std::move(distribution)), positions_(positions) {
    for (int64_t i = 0; i < sentences; ++i) text_.push_back({i});
  }
  int64_t max_positions() const override { return positions_; }
  torch::Tensor next(const torch::Tensor& token_N) override {
    rows.push_back(token_N.size(0));
    std::vector<torch::Tensor> all;
    for (int64_t i = 0; i < token_N.size(0); ++i) {
      auto& text = text_.at(static_cast<size_t>(i));
      text.push_back(token_N[i].item<int64_t>());
      all.push_back(torch::tensor(distribution_(text)));
    }
    return torch::stack(all);
  }
  void reorder(const torch::Tensor& order_N) override {
    std::vector<Tokens> next;
    for (int64_t i = 0; i < order_N.size(0); ++i)
      next.push_back(text_.at(static_cast<size_t>(order_N[i].item<int64_t>())));
    text_ = next;
  }
  Tokens rows;

 private:
  Distribution distribution_;
  int64_t positions_;
  std::vector<Tokens> text_;
};

/// A distribution that is drawn from the whole text before it.
std::vector<float> random_distribution(const Tokens& text) {
  uint64_t state = 17;
  for (const auto token : text)
    state = state * 6364136223846793005ULL + 1442695040888963407ULL +
            static_cast<uint64_t>(token) * 977;
  std::vector<float> logit;
  for (int64_t i = 0; i < kToyVocabulary; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    logit.push_back(static_cast<float>(state >> 40) / static_cast<float>(1 << 23) * 3);
  }
  const auto x_V = torch::log_softmax(torch::tensor(logit), 0);
  return {x_V.data_ptr<float>(), x_V.data_ptr<float>() + kToyVocabulary};
}

/// Log-probabilities of tokens 2 ...; 0 and 1 have none.
std::vector<float> table(std::vector<double> probability) {
  std::vector<float> result(2, -INFINITY);
  for (const auto p : probability) result.push_back(static_cast<float>(std::log(p)));
  result.resize(kToyVocabulary, -INFINITY);
  return result;
}

BeamSearchOptions short_search(int64_t beam, int64_t max_len) {
  BeamSearchOptions options;
  options.beam = beam;
  options.max_len_b = max_len;
  return options;
}

struct Text {
  Tokens token;
  double score = 0;
};

/// Every text of at most max_len tokens and its end, best first: the definition of the goal.
std::vector<Text> all_texts(int64_t sentence, const BeamSearchOptions& options) {
  std::vector<Text> found;
  const std::function<void(Tokens, double)> go_on = [&](Tokens token, double score) {
    Tokens text = {sentence, options.start_token};
    text.insert(text.end(), token.begin(), token.end());
    const auto next = random_distribution(text);
    const auto length = static_cast<int64_t>(token.size());
    for (int64_t i = 0; i < kToyVocabulary; ++i) {
      if (i == options.pad_token) continue;
      const double penalty = i == options.unk_token ? options.unkpen : 0;
      auto longer = token;
      longer.push_back(i);
      const double sum = score + next[static_cast<size_t>(i)] - penalty;
      if (i == kEnd) {
        if (length < options.min_len) continue;
        found.push_back(
            {longer, options.normalize ? sum / std::pow(longer.size(), options.lenpen) : sum});
      } else if (length < options.max_len_b) {
        go_on(longer, sum);
      }
    }
  };
  go_on({}, 0);
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.score > b.score; });
  return found;
}

/// fairseq's procedure written for one sentence and over all tokens, without batches and tops.
std::vector<Text> plain_beam(int64_t sentence, const BeamSearchOptions& options) {
  std::vector<Text> beam = {{}}, finished;
  for (int64_t step = 0; step <= options.max_len_b && !beam.empty(); ++step) {
    std::vector<Text> candidates;
    for (const auto& hypothesis : beam) {
      Tokens text = {sentence, options.start_token};
      text.insert(text.end(), hypothesis.token.begin(), hypothesis.token.end());
      const auto next = random_distribution(text);
      for (int64_t i = 0; i < kToyVocabulary; ++i) {
        if (i == options.pad_token || (i == kEnd && step < options.min_len)) continue;
        if (i != kEnd && step == options.max_len_b) continue;
        auto longer = hypothesis.token;
        longer.push_back(i);
        candidates.push_back(
            {longer, static_cast<float>(hypothesis.score) + next[static_cast<size_t>(i)]});
      }
    }
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const auto& a, const auto& b) { return a.score > b.score; });
    beam.clear();
    for (size_t rank = 0; rank < candidates.size(); ++rank) {
      if (rank == static_cast<size_t>(2 * options.beam)) break;
      const bool ends = candidates[rank].token.back() == kEnd;
      if (ends && rank < static_cast<size_t>(options.beam) &&
          finished.size() < static_cast<size_t>(options.beam)) {
        auto done = candidates[rank];
        done.score /= std::pow(done.token.size(), options.lenpen);
        finished.push_back(done);
      }
      if (!ends && beam.size() < static_cast<size_t>(options.beam))
        beam.push_back(candidates[rank]);
    }
    if (finished.size() == static_cast<size_t>(options.beam)) break;
  }
  std::stable_sort(finished.begin(), finished.end(),
                   [](const auto& a, const auto& b) { return a.score > b.score; });
  return finished;
}

void expect_same(const std::vector<Hypothesis>& actual, const std::vector<Text>& expected) {
  ASSERT_GE(expected.size(), actual.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_EQ(actual[i].token, expected[i].token) << i;
    EXPECT_NEAR(actual[i].score, expected[i].score, 1e-5);
  }
}

TEST(BeamSearch, ASentenceMayHaveAStartOfItsOwn) {
  auto options = short_search(3, 4);
  ToyModel model(2, random_distribution);
  const auto found = beam_search(model, {.sentences = 2, .start = {5, 3}}, options);
  for (int64_t sentence = 0; sentence < 2; ++sentence) {
    options.start_token = sentence == 0 ? 5 : 3;
    expect_same(found[static_cast<size_t>(sentence)], plain_beam(sentence, options));
  }
}

TEST(BeamSearch, WithABeamThatHoldsEverythingItFindsTheBestTexts) {
  for (const double lenpen : {1.0, 0.3, 2.0}) {
    for (const bool normalize : {true, false}) {
      // The vocabulary less padding is the widest beam: it holds all texts of one token.
      auto options = short_search(400, 1);
      options.lenpen = lenpen;
      options.normalize = normalize;
      options.unkpen = 0.7;
      ToyModel model(2, random_distribution);
      const auto found = beam_search(model, {.sentences = 2, .prefix = {}, .ids = {}}, options);
      for (int64_t i = 0; i < 2; ++i) {
        EXPECT_EQ(found[static_cast<size_t>(i)].size(), 6U);
        expect_same(found[static_cast<size_t>(i)], all_texts(i, options));
      }
    }
  }
}

TEST(BeamSearch, ABatchIsWhatThePlainProcedureFindsForEachSentence) {
  for (const int64_t beam : {1, 2, 3, 5}) {
    for (const int64_t min_len : {1, 3}) {
      auto options = short_search(beam, 6);
      options.min_len = min_len;
      ToyModel model(20, random_distribution);
      const auto found = beam_search(model, {.sentences = 20, .prefix = {}, .ids = {}}, options);
      for (int64_t i = 0; i < 20; ++i) {
        SCOPED_TRACE(i);
        const auto expected = plain_beam(i, options);
        EXPECT_EQ(found[static_cast<size_t>(i)].size(), expected.size());
        expect_same(found[static_cast<size_t>(i)], expected);
      }
    }
  }
}

TEST(BeamSearch, PositionalScoresAreThoseOfTheTokens) {
  ToyModel model(1, random_distribution);
  const auto found =
      beam_search(model, {.sentences = 1, .prefix = {}, .ids = {}}, short_search(3, 5));
  for (const auto& hypothesis : found[0]) {
    ASSERT_EQ(hypothesis.positional_score.size(), hypothesis.token.size());
    Tokens text = {0, kEnd};
    double sum = 0;
    for (size_t i = 0; i < hypothesis.token.size(); ++i) {
      const auto token = hypothesis.token[i];
      const auto expected = random_distribution(text)[static_cast<size_t>(token)];
      EXPECT_NEAR(hypothesis.positional_score[i], expected, 1e-5);
      sum += expected;
      text.push_back(token);
    }
    EXPECT_NEAR(hypothesis.score, sum / static_cast<double>(hypothesis.token.size()), 1e-5);
  }
}

TEST(BeamSearch, TheLengthPenaltyDecidesBetweenShortAndLong) {
  // Token 4 and the end (.45), or 5, 5, 5, 5 and the end (.4); what begins 4, 4 never ends.
  const auto distribution = [](const Tokens& text) {
    if (text.size() == 2) return table({0.1, 0, 0.5, 0.4});
    if (text[2] == 4) return text.size() == 3 ? table({0.9, 0, 0.1}) : table({0, 0, 1.0});
    return text.size() < 6 ? table({0, 0, 0, 1.0}) : table({1.0});
  };
  const auto best = [&](double lenpen) {
    auto options = short_search(2, 5);
    options.lenpen = lenpen;
    ToyModel model(1, distribution);
    return beam_search(model, {.sentences = 1, .prefix = {}, .ids = {}}, options)[0][0].token;
  };
  EXPECT_THAT(best(0), ElementsAre(4, kEnd));
  EXPECT_THAT(best(2), ElementsAre(5, 5, 5, 5, kEnd));
}

TEST(BeamSearch, TiesGoToTheLowerToken) {
  ToyModel model(1, [](const Tokens& text) {
    return text.size() == 2 ? table({0.04, 0.24, 0.24, 0.24, 0.24}) : table({1.0});
  });
  const auto found =
      beam_search(model, {.sentences = 1, .prefix = {}, .ids = {}}, short_search(3, 5));
  ASSERT_EQ(found[0].size(), 3U);
  EXPECT_EQ(found[0][0].token[0], 3);
  EXPECT_EQ(found[0][1].token[0], 4);
  EXPECT_EQ(found[0][2].token[0], 5);
}

TEST(BeamSearch, AnEndOutsideTheFirstBeamIsNotTaken) {
  // Beam 1: the end ranks second, so it is dropped however good it is.
  ToyModel model(1, [](const Tokens& text) {
    return text.size() < 4 ? table({0.45, 0, 0.55}) : table({0.9, 0, 0.1});
  });
  const auto found =
      beam_search(model, {.sentences = 1, .prefix = {}, .ids = {}}, short_search(1, 9));
  EXPECT_THAT(found[0][0].token, ElementsAre(4, 4, kEnd));
}

TEST(BeamSearch, SentencesThatAreDoneLeaveTheBatch) {
  ToyModel model(2, [](const Tokens& text) {
    const size_t length = text[0] == 0 ? 3 : 6;
    return text.size() < length ? table({0, 0, 1.0}) : table({1.0});
  });
  const auto found =
      beam_search(model, {.sentences = 2, .prefix = {}, .ids = {}}, short_search(1, 9));
  EXPECT_EQ(found[0][0].token.size(), 2U);
  EXPECT_EQ(found[1][0].token.size(), 5U);
  EXPECT_THAT(model.rows, ElementsAre(2, 2, 1, 1, 1));
}

TEST(BeamSearch, NoNGramComesTwice) {
  const auto repeat = [](const Tokens& text) {
    const auto last = text.back();
    return last == 4 ? table({0.01, 0.01, 0.03, 0.9, 0.05}) : table({0.01, 0.01, 0.9, 0.03, 0.05});
  };
  auto options = short_search(1, 7);
  ToyModel free(1, repeat);
  EXPECT_THAT(beam_search(free, {.sentences = 1, .prefix = {}, .ids = {}}, options)[0][0].token,
              ElementsAre(4, 5, 4, 5, 4, 5, 4, kEnd));
  options.no_repeat_ngram = 2;
  ToyModel blocked(1, repeat);
  // 4 5, 5 4, then 4 5 is forbidden: 6; 6 4; behind 4: 5 and 6 are forbidden, so 4; then that too.
  EXPECT_THAT(beam_search(blocked, {.sentences = 1, .prefix = {}, .ids = {}}, options)[0][0].token,
              ElementsAre(4, 5, 4, 6, 4, 4, kEnd));
  options.no_repeat_ngram = 1;
  ToyModel single(1, repeat);
  EXPECT_THAT(beam_search(single, {.sentences = 1, .prefix = {}, .ids = {}}, options)[0][0].token,
              ElementsAre(4, 5, 6, kEnd))
      << "the end stays possible although the start of the sentence is the same token";
}

TEST(BeamSearch, HypothesesBeginWithThePrefixAndCountItsProbability) {
  const Tokens prefix = {7, 5};
  auto options = short_search(3, 5);
  ToyModel model(2, random_distribution);
  const auto found = beam_search(
      model, {.sentences = 2, .prefix = {prefix, {options.pad_token, 6}}, .ids = {}}, options);
  ASSERT_EQ(found[0].size(), 3U);
  for (const auto& hypothesis : found[0]) {
    EXPECT_EQ(Tokens(hypothesis.token.begin(), hypothesis.token.begin() + 2), prefix);
    EXPECT_NEAR(hypothesis.positional_score[0], random_distribution({0, kEnd})[7], 1e-5);
    EXPECT_NEAR(hypothesis.positional_score[1], random_distribution({0, kEnd, 7})[5], 1e-5);
  }
  for (const auto& hypothesis : found[1]) {
    if (hypothesis.token.size() > 1) EXPECT_EQ(hypothesis.token[1], 6);
  }
  EXPECT_THAT(std::vector<int64_t>(model.rows.begin(), model.rows.begin() + 2), ElementsAre(2, 4))
      << "one row while a prefix is read, a whole beam where the token is free";
}

TEST(BeamSearch, AnEndInThePrefixEndsTheSentence) {
  ToyModel model(1, random_distribution);
  const auto found =
      beam_search(model, {.sentences = 1, .prefix = {{5, kEnd, 1}}, .ids = {}}, short_search(3, 5));
  ASSERT_EQ(found[0].size(), 3U);
  for (const auto& hypothesis : found[0]) EXPECT_THAT(hypothesis.token, ElementsAre(5, kEnd));
}

TEST(BeamSearch, TemperatureSharpensTheDistribution) {
  auto options = short_search(1, 4);
  options.temperature = 0.5;
  ToyModel model(1, [](const Tokens& text) {
    return text.size() == 2 ? table({0.2, 0, 0.8}) : table({1.0});
  });
  const auto found = beam_search(model, {.sentences = 1, .prefix = {}, .ids = {}}, options);
  EXPECT_NEAR(found[0][0].positional_score[0], std::log(0.64 / (0.64 + 0.04)), 1e-5);
}

TEST(BeamSearch, LengthsFollowTheSourceAndTheDecodersPositions) {
  const auto endless = [](const Tokens&) { return table({0.1, 0, 0.9}); };
  auto options = short_search(1, 2);
  options.max_len_a = 0.5;
  ToyModel model(1, endless);
  const SearchBatch batch{.sentences = 1, .source_columns = 7, .prefix = {}, .ids = {}};
  EXPECT_EQ(beam_search(model, batch, options)[0][0].token.size(), 6U);  // 3.5 + 2, and the end
  ToyModel narrow(1, endless, /*positions=*/4);
  EXPECT_EQ(beam_search(narrow, batch, options)[0][0].token.size(), 4U);
  options.min_len = 6;
  try {
    ToyModel again(1, endless);
    beam_search(again, batch, options);
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("--min-len 6"));
  }
}

TEST(BeamSearch, WhatIsNotANumberIsAnError) {
  ToyModel model(1, [](const Tokens&) { return std::vector<float>(kToyVocabulary, NAN); });
  EXPECT_THROW(beam_search(model, {.sentences = 1, .prefix = {}, .ids = {}}, short_search(2, 4)),
               Error);
}

TEST(BeamSearch, SamplesFollowTheDistributionAndNotTheBatch) {
  BeamSearchOptions options = short_search(6, 6);
  options.sampling = true;
  const int64_t sentences = 300;
  const auto distribution = [](const Tokens& text) {
    return text.size() == 2 ? table({0.1, 0, 0.3, 0.6}) : table({0.7, 0, 0.3});
  };
  options.min_len = 0;
  ToyModel model(sentences, distribution);
  const auto found = beam_search(model, {.sentences = sentences, .prefix = {}, .ids = {}}, options);
  std::map<int64_t, double> share;
  for (const auto& of_sentence : found) {
    ASSERT_EQ(of_sentence.size(), 6U);
    for (const auto& hypothesis : of_sentence)
      share[hypothesis.token[0]] += 1.0 / static_cast<double>(6 * sentences);
  }
  EXPECT_NEAR(share[kEnd], 0.1, 0.03);
  EXPECT_NEAR(share[4], 0.3, 0.04);
  EXPECT_NEAR(share[5], 0.6, 0.04);
  // The same sentence alone.
  ToyModel alone(1, distribution);
  const auto one = beam_search(alone, {.sentences = 1, .prefix = {}, .ids = {123}}, options);
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(one[0][i].token, found[123][i].token);
  options.seed = 2;
  ToyModel other(sentences, distribution);
  const auto again = beam_search(other, {.sentences = sentences, .prefix = {}, .ids = {}}, options);
  int64_t same = 0;
  for (size_t i = 0; i < found.size(); ++i) same += found[i][0].token == again[i][0].token ? 1 : 0;
  EXPECT_LT(same, sentences) << "another seed, other samples";
}

TEST(SampledToken, IsCutToTheBestTokensOrToAMass) {
  const auto x_V = torch::tensor({0.1F, 0.4F, 0.2F, 0.3F}).log();
  const auto tokens = [&](int64_t top_k, double top_p) {
    std::map<int64_t, int> seen;
    for (int i = 0; i < 1000; ++i) ++seen[sampled_token(x_V, top_k, top_p, (i + 0.5) / 1000).token];
    return seen;
  };
  using ::testing::Pair;
  EXPECT_THAT(tokens(0, 0), ElementsAre(Pair(0, 100), Pair(1, 400), Pair(2, 200), Pair(3, 300)));
  EXPECT_THAT(tokens(2, 0), ElementsAre(Pair(1, 571), Pair(3, 429)));
  EXPECT_THAT(tokens(0, 0.6), ElementsAre(Pair(1, 571), Pair(3, 429))) << ".4 is not enough";
  EXPECT_THAT(tokens(0, 0.3), ElementsAre(Pair(1, 1000)));
  EXPECT_THAT(tokens(1, 0.9), ElementsAre(Pair(1, 1000))) << "both hold";
  EXPECT_THAT(tokens(3, 0.3), ElementsAre(Pair(1, 1000)));
  EXPECT_THAT(tokens(3, 0.8), ElementsAre(Pair(1, 444), Pair(2, 222), Pair(3, 334)))
      << ".8 of the .9 that the three have";
  EXPECT_NEAR(sampled_token(x_V, 0, 0.3, 0.5).log_probability, std::log(0.4), 1e-6)
      << "the score is that of the whole distribution";
  EXPECT_EQ(sampled_token(torch::full({4}, -INFINITY), 0, 0, 0.5).token, -1);
}

TEST(BestTokens, AreInOrderWithoutThoseThatHaveNoProbability) {
  const auto x_NV = torch::tensor({{1.0F, 3.0F, 3.0F, 2.0F}, {-INFINITY, 0.0F, -INFINITY, 1.0F}});
  const auto best = best_tokens(x_NV, 3);
  Tokens first, second;
  for (const auto& c : best[0]) first.push_back(c.token);
  for (const auto& c : best[1]) second.push_back(c.token);
  EXPECT_THAT(first, ElementsAre(1, 2, 3));
  EXPECT_THAT(second, ElementsAre(3, 1));
}

}  // namespace
}  // namespace evomoe
