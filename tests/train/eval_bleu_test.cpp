#include "evomoe/train/eval_bleu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/train/options.h"

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

EvalBleuOptions with_args(const std::string& json) {
  EvalBleuOptions options;
  options.eval_bleu_args = json;
  return options;
}

std::string error_of(const std::string& json) {
  try {
    bleu_search(with_args(json));
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no error";
}

TEST(EvalBleu, TheAuthorsCommandIsUnderstood) {
  TrainOptions options;
  OptionTable table("train", "");
  options.describe(table);
  table.parse({"d", "--task", "translation", "--max-tokens", "4096", "--eval-bleu",
               "--eval-bleu-args", R"({"beam": 4, "max_len_a": 1.2, "max_len_b": 10})",
               "--eval-bleu-detok", "moses", "--eval-bleu-remove-bpe", "--eval-bleu-print-samples",
               "--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric"});
  const auto& bleu = options.task.bleu;
  EXPECT_TRUE(bleu.eval_bleu);
  EXPECT_EQ(bleu.eval_bleu_detok, "moses");
  EXPECT_EQ(bleu.eval_bleu_remove_bpe, "subword_nmt");
  EXPECT_TRUE(bleu.eval_bleu_print_samples);
  EXPECT_EQ(options.checkpoint.best_checkpoint_metric, "bleu");
  const auto search = bleu_search(bleu);
  EXPECT_EQ(search.search.beam, 4);
  EXPECT_EQ(search.search.max_len_a, 1.2);
  EXPECT_EQ(search.max_len, 10);
}

TEST(EvalBleu, WhatIsNotGivenHasFairseqsDefaults) {
  const auto search = bleu_search({});
  EXPECT_EQ(search.search.beam, 5);
  EXPECT_EQ(search.search.max_len_a, 0);
  EXPECT_EQ(search.max_len, 200);
  EXPECT_EQ(search.min_len.value_or(1), 1);
  EXPECT_EQ(search.search.lenpen, 1);
  EXPECT_EQ(search.search.unkpen, 0);
  EXPECT_EQ(search.temperature, 1);
  EXPECT_FALSE(search.search.unnormalized);
  EXPECT_FALSE(*search.sampling);
  EXPECT_EQ(bleu_detokenizer_language({}), "en");
}

TEST(EvalBleu, EveryArgumentOfFairseqsSearchIsRead) {
  const auto search = bleu_search(with_args(
      R"({"min_len": 2, "lenpen": 0.6, "unkpen": 1, "unnormalized": true, "temperature": 2,
          "no_repeat_ngram_size": 3, "sampling": true, "sampling_topk": 10,
          "sampling_topp": 0.9})"));
  EXPECT_EQ(search.min_len, 2);
  EXPECT_EQ(search.search.lenpen, 0.6);
  EXPECT_EQ(search.search.unkpen, 1);
  EXPECT_TRUE(search.search.unnormalized);
  EXPECT_EQ(search.temperature, 2);
  EXPECT_EQ(search.search.no_repeat_ngram_size, 3);
  EXPECT_TRUE(*search.sampling);
  EXPECT_EQ(search.sampling_topk, 10);
  EXPECT_EQ(search.sampling_topp, 0.9);
}

TEST(EvalBleu, AnErrorNamesFlagKeyAndWhatIsAllowed) {
  EXPECT_THAT(error_of(R"({"bean": 4})"),
              AllOf(HasSubstr("--eval-bleu-args"), HasSubstr("'bean'"),
                    HasSubstr("beam, max_len_a"), HasSubstr("sampling_topp")));
  EXPECT_THAT(error_of(R"({"beam": "4"})"),
              AllOf(HasSubstr("--eval-bleu-args: beam"), HasSubstr("an integer")));
  EXPECT_THAT(error_of(R"({"beam": 0})"), HasSubstr("--eval-bleu-args: beam"));
  EXPECT_THAT(error_of(R"({"beam": 18446744073709551615})"), HasSubstr("an integer"));
  EXPECT_THAT(error_of(R"({"unnormalized": 1})"), HasSubstr("true or false"));
  EXPECT_THAT(error_of("beam=4"), AllOf(HasSubstr("'beam=4'"), HasSubstr("JSON object")));
  EXPECT_THAT(error_of("[4]"), HasSubstr("JSON object"));
  EXPECT_THAT(error_of(R"({"sampling_topk": 4})"),
              AllOf(HasSubstr("--eval-bleu-args"), HasSubstr("need --sampling")));
}

TEST(EvalBleu, TheDetokenizersLanguageIsRead) {
  EvalBleuOptions options;
  options.eval_bleu_detok_args = R"({"target_lang": "fr", "moses_no_escape": true})";
  EXPECT_EQ(bleu_detokenizer_language(options), "fr");
  options.eval_bleu_detok_args = R"({"lang": "fr"})";
  EXPECT_THROW(bleu_detokenizer_language(options), UsageError);
}

}  // namespace
}  // namespace evomoe
