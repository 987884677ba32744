// The lines of generate and interactive from a toy model: which sentences, which order, which
// score.
#include "evomoe/generate/generate_subset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

#include "evomoe/base/error.h"
#include "evomoe/generate/translate_lines.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Tokens = std::vector<int64_t>;

/// Translates a source by repeating it, each token with probability .8.
class Echo : public NextTokens {
 public:
  Echo(const Batch& batch, int64_t vocabulary) : vocabulary_(vocabulary) {
    for (int64_t row = 0; row < batch.rows; ++row)
      text_.push_back({row_without_padding(batch.source, batch.columns, row), 0});
  }
  int64_t max_positions() const override { return 20; }
  torch::Tensor next(const torch::Tensor& token_N) override {
    auto p_NV =
        torch::full({token_N.size(0), vocabulary_}, 0.2 / static_cast<double>(vocabulary_ - 1));
    for (int64_t i = 0; i < token_N.size(0); ++i) {
      auto& [source, at] = text_.at(static_cast<size_t>(i));
      p_NV[i][source[std::min(at, source.size() - 1)]] = 0.8;
      ++at;
    }
    return p_NV.log();
  }
  void reorder(const torch::Tensor& order_N) override {
    std::vector<std::pair<Tokens, size_t>> next;
    for (int64_t i = 0; i < order_N.size(0); ++i)
      next.push_back(text_.at(static_cast<size_t>(order_N[i].item<int64_t>())));
    text_ = next;
  }

 private:
  int64_t vocabulary_;
  std::vector<std::pair<Tokens, size_t>> text_;
};

/// Pairs of sentences in memory, the sources padded on the left; items 2 and 0 come first.
class FewPairs : public Dataset {
 public:
  FewPairs(std::vector<Tokens> source, std::vector<Tokens> target)
      : source_(std::move(source)), target_(std::move(target)) {}
  int64_t size() const override { return static_cast<int64_t>(source_.size()); }
  int64_t item_size(int64_t item) const override {
    return static_cast<int64_t>(source_[static_cast<size_t>(item)].size());
  }
  Tokens ordered_indices(int64_t) const override { return {2, 0, 1}; }
  Batch collate(std::span<const int64_t> items) const override {
    Batch batch;
    batch.rows = static_cast<int64_t>(items.size());
    batch.ids.assign(items.begin(), items.end());
    const auto fill = [&](const std::vector<Tokens>& from, bool left, int64_t& columns,
                          Tokens& to) {
      for (const auto item : items)
        columns = std::max(columns, static_cast<int64_t>(from[static_cast<size_t>(item)].size()));
      for (const auto item : items) {
        auto row = from[static_cast<size_t>(item)];
        row.insert(left ? row.begin() : row.end(), static_cast<size_t>(columns) - row.size(), 1);
        to.insert(to.end(), row.begin(), row.end());
      }
    };
    fill(source_, true, batch.columns, batch.source);
    if (!target_.empty()) fill(target_, false, batch.target_columns, batch.target);
    return batch;
  }
  int64_t tokens() const override { return 0; }
  std::string name() const override { return "few"; }

 private:
  std::vector<Tokens> source_, target_;
};

class GenerateSubset : public ::testing::Test {
 protected:
  GenerateSubset() {
    for (const auto* symbol : {"a", "b@@", "c", "d"}) dictionary_.add(symbol);  // 4, 5, 6, 7
    model_.source = model_.target = &dictionary_;
    model_.left_pad_source = true;
    model_.max_source_positions = 10;
    model_.starts.emplace_back([&](const Batch& batch) {
      ++batches_;
      return std::make_unique<Echo>(batch, dictionary_.size());
    });
    flags_.search.batch_size = 2;
    flags_.search.beam = 2;
    flags_.max_len = 8;
  }

  std::string run(const Dataset& dataset) {
    std::ostringstream out;
    SelfCommunicator alone;
    generate_subset(model_, dataset, "test", flags_, out, alone);
    return out.str();
  }

  std::string interactive(const std::string& text, const InteractiveOptions& flags) {
    std::istringstream in(text);
    LineReader lines(in, "news");
    std::ostringstream out;
    try {
      translate_lines(model_, flags, lines, out);
    } catch (const Error& error) {
      out << "error: " << error.what();
    }
    return out.str();
  }

  Dictionary dictionary_;
  GenerationModel model_;
  GenerateOptions flags_;
  int batches_ = 0;
  const std::vector<Tokens> source_ = {{4, 5, 6, 2}, {7, 2}, {4, 4, 4, 4, 2}};
  const std::vector<Tokens> target_ = {{4, 5, 6, 2}, {3, 2}, {4, 4, 4, 7, 2}};
};

TEST_F(GenerateSubset, WritesFairseqsLinesInTheOrderOfTheBatches) {
  const auto out = run(FewPairs(source_, target_));
  // log2(.8) = -.3219
  EXPECT_THAT(out, HasSubstr("S-2\ta a a a\nT-2\ta a a d\nH-2\t-0.32192"));
  EXPECT_THAT(out,
              HasSubstr("\ta a a a\nP-2\t-0.3219 -0.3219 -0.3219 -0.3219 -0.3219\nS-0\ta b@@ c\n"));
  EXPECT_THAT(out, HasSubstr("S-1\td\nT-1\t<<unk>>\nH-1\t"));
  EXPECT_LT(out.find("S-0"), out.find("S-1"));
  // 3 + 3 of 8 words, 2 + 2 of 5 pairs ..., by hand: 6/8, 4/5, 2/3, 0/1.
  EXPECT_THAT(out, HasSubstr("\nGenerate test with beam=2: BLEU4 = 0.00, 75.0/80.0/66.7/0.0 "
                             "(BP=1.000, ratio=1.000, syslen=8, reflen=8)\n"));
  EXPECT_EQ(batches_, 2);
}

TEST_F(GenerateSubset, JoinsSubwordsAndCountsWordsThen) {
  flags_.search.post_process = "subword_nmt";
  const auto out = run(FewPairs(source_, target_));
  EXPECT_THAT(out, HasSubstr("S-0\ta bc\nT-0\ta bc\n"));
  EXPECT_THAT(out, HasSubstr("syslen=7, reflen=7)"));
  EXPECT_THAT(out, HasSubstr("BLEU4 = 0.00, 71.4/75.0/50.0/0.0"));
}

TEST_F(GenerateSubset, QuietLeavesTheScoreAndNbestWritesMoreHypotheses) {
  flags_.quiet = true;
  EXPECT_THAT(run(FewPairs(source_, target_)), ::testing::StartsWith("Generate test with"));
  flags_.quiet = false;
  flags_.num_samples = 2;
  const auto out = run(FewPairs(source_, target_));
  size_t count = 0;
  for (size_t at = 0; (at = out.find("H-2\t", at)) != std::string::npos; ++at) ++count;
  EXPECT_EQ(count, 2U);
}

TEST_F(GenerateSubset, ScoresTextAsSacreBleuWhereAsked) {
  flags_.scoring = "sacrebleu";
  EXPECT_THAT(run(FewPairs(source_, source_)),
              HasSubstr("Generate test with beam=2: BLEU = 100.00 100.0/100.0/100.0/100.0 (BP = "
                        "1.000"));
}

TEST_F(GenerateSubset, WithoutReferencesThereIsNoTargetAndNoScore) {
  const auto out = run(FewPairs(source_, {}));
  EXPECT_THAT(out, HasSubstr("S-2\ta a a a\nH-2\t"));
  EXPECT_THAT(out, Not(HasSubstr("T-")));
  EXPECT_THAT(out, Not(HasSubstr("Generate")));
  flags_.prefix_size = 1;
  EXPECT_THROW(run(FewPairs(source_, {})), Error);
}

TEST_F(GenerateSubset, HypothesesBeginWithTheTargetsPrefix) {
  flags_.prefix_size = 2;
  const std::vector<Tokens> target = {{7, 6, 2}, {6, 6, 2}, {7, 7, 2}};
  const auto out = run(FewPairs(source_, target));
  EXPECT_THAT(out, HasSubstr("\td d a a\n"));
  EXPECT_THAT(out, HasSubstr("\td c c\n"));
}

TEST_F(GenerateSubset, SentencesThatAreTooLongAreAnErrorOrLeftOut) {
  model_.max_source_positions = 4;
  EXPECT_THROW(run(FewPairs(source_, target_)), Error);
  flags_.skip_invalid_size_inputs_valid_test = true;
  const auto out = run(FewPairs(source_, target_));
  EXPECT_THAT(out, Not(HasSubstr("S-2")));
  EXPECT_THAT(out, HasSubstr("S-0"));
}

TEST_F(GenerateSubset, ALanguageModelGoesOnWithTheSource) {
  model_.rules.continues_source = true;
  flags_.search.batch_size = 1;
  const auto out = run(FewPairs({{2, 6}, {2, 4, 7}, {2, 4}}, {{6, 2}, {4, 7, 2}, {4, 2}}));
  EXPECT_THAT(out, HasSubstr("S-1\ta d\nT-1\ta d\nH-1"));
  // Behind `</s> a d` the toy model repeats it: at its third step it says d.
  EXPECT_THAT(out, ::testing::ContainsRegex("H-1\t[-.0-9]+\ta d d"));
}

TEST_F(GenerateSubset, InteractiveKeepsTheOrderOfTheLines) {
  InteractiveOptions flags;
  flags.search.beam = 1;
  flags.buffer_size = 3;
  flags.search.batch_size = 2;
  flags.max_len = 8;
  const auto text = interactive("a a a a\n d \r\n\na xyz\rb@@ c", flags);
  std::string order;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    order += line.substr(0, 3) + " ";
    if (line.starts_with("W-"))
      EXPECT_THAT(line, ::testing::MatchesRegex("W-[0-9]\t[0-9.]+\tseconds"));
  }
  EXPECT_EQ(order,
            "S-0 W-0 H-0 D-0 P-0 S-1 W-1 H-1 D-1 P-1 S-2 W-2 H-2 D-2 P-2 S-3 W-3 H-3 D-3 P-3 "
            "S-4 W-4 H-4 D-4 P-4 ");
  EXPECT_THAT(text, HasSubstr("S-1\td\n"));
  EXPECT_THAT(text, HasSubstr("S-3\ta <unk>\n"));
  EXPECT_THAT(text, ::testing::ContainsRegex("D-4\t[-.0-9]+\tb@@ c\n"));
  EXPECT_EQ(batches_, 3) << "two of the first three lines, one of the others";
}

/// The ids of the translations in `text`, in their order.
std::string ids_of(const std::string& text) {
  std::string ids;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("D-")) ids += line.substr(2, line.find('\t') - 2) + " ";
  return ids;
}

TEST_F(GenerateSubset, InteractiveLeavesOutLinesThatAreTooLong) {
  model_.max_source_positions = 4;
  InteractiveOptions flags;
  flags.search.beam = 1;
  flags.max_len = 8;
  const std::string text = "a\nb@@ c\na a a a\nd\na c d a d\nc\n";
  for (const int64_t buffer : {1, 2, 16}) {
    flags.buffer_size = buffer;
    flags.skip_invalid_size_inputs_valid_test = true;
    const auto out = interactive(text, flags);
    EXPECT_EQ(ids_of(out), "0 1 3 5 ") << "as in fairseq, what is left out has a number";
    EXPECT_THAT(out, Not(HasSubstr("error")));
    flags.skip_invalid_size_inputs_valid_test = false;
    const auto stopped = interactive(text, flags);
    EXPECT_EQ(ids_of(stopped), "0 1 ") << "those before are answered";
    EXPECT_THAT(stopped, HasSubstr("error: news:3: the line has 5 tokens, more than the 4"));
    EXPECT_THAT(stopped, HasSubstr("--skip-invalid-size-inputs-valid-test"));
  }
  // --max-tokens is a limit as well.
  model_.max_source_positions = 10;
  flags.search.max_tokens = 4;
  EXPECT_THAT(interactive(text, flags),
              HasSubstr("news:3: the line has 5 tokens, more than --max-tokens 4"));
  flags.skip_invalid_size_inputs_valid_test = true;
  EXPECT_EQ(ids_of(interactive(text, flags)), "0 1 3 5 ");
}

TEST_F(GenerateSubset, InteractiveAnswersWhatItCanBeforeAnError) {
  InteractiveOptions flags;
  flags.search.beam = 1;
  flags.buffer_size = 16;
  const auto not_text = interactive("a\nd\n\xFF\nc\n", flags);
  EXPECT_EQ(ids_of(not_text), "0 1 ");
  EXPECT_THAT(not_text, HasSubstr("error: news:3: not UTF-8"));
  // A line that is too short for --min-len.
  flags.search.max_len_a = 1;
  flags.max_len = 1;
  flags.min_len = 4;
  EXPECT_EQ(ids_of(interactive("a a a a\n", flags)), "0 ");
  flags.buffer_size = 1;
  const auto short_line = interactive("a a a a\na\n", flags);
  EXPECT_EQ(ids_of(short_line), "0 ");
  EXPECT_THAT(short_line, HasSubstr("error: --min-len 4"));
}

TEST_F(GenerateSubset, ALineIsAnsweredTheSameWhateverBeginsTheOthersOfItsBatch) {
  // As a model of Hugging Face whose tokenizer puts nothing before a text.
  model_.rules.continues_source = true;
  model_.prompt_start.emplace();
  InteractiveOptions flags;
  flags.search.beam = 1;
  flags.buffer_size = 3;
  flags.max_len = 8;
  const auto answers = [&](int64_t batch_size) {
    flags.search.batch_size = batch_size;
    std::string without_times;
    std::istringstream lines(interactive("a c\n</s> d\nd b@@\n", flags));
    for (std::string line; std::getline(lines, line);)
      if (!line.starts_with("W-")) without_times += line + "\n";
    return without_times;
  };
  const auto alone = answers(1);
  EXPECT_THAT(alone, HasSubstr("S-1\td\n"));
  const int before = batches_;
  EXPECT_EQ(answers(3), alone);
  EXPECT_EQ(batches_, before + 1) << "one batch";
}

TEST_F(GenerateSubset, TextIsReadAsItWasInTraining) {
  using ::testing::ElementsAre;
  const auto read = [&](std::string_view text, bool keep = false) {
    return source_tokens(model_, text, keep);
  };
  EXPECT_THAT(read(" a d\r"), ElementsAre(4, 7, 2));
  EXPECT_THAT(read(""), ElementsAre(2));
  model_.rules.continues_source = true;
  for (const auto start : {Dictionary::kBos, Dictionary::kEos}) {
    model_.start_token = start;
    EXPECT_THAT(read("a d\n"), ElementsAre(start, 4, 7));
    EXPECT_THAT(read(""), ElementsAre(start));
    for (const auto* text : {"a\nd", "a\rd", " a \r\n d\n"})
      EXPECT_THAT(read(text), ElementsAre(start, 4, 2, 7)) << "ends of lines are ends of sentences";
    EXPECT_THAT(read("a\n\nd\n", /*keep=*/true), ElementsAre(start, 4, 2, 2, 7, 2));
    EXPECT_THAT(read("a </s> x"), ElementsAre(start, 4, 2, 3)) << "words as those of preprocess";
  }
}

}  // namespace
}  // namespace evomoe
