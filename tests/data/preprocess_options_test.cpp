#include "evomoe/data/preprocess_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

TEST(PreprocessOptions, TakesAPairOrOneTextAndWhatBelongsToIt) {
  PreprocessOptions pair;
  pair.trainpref = "train";
  pair.source_lang = "de";
  pair.target_lang = "en";
  EXPECT_NO_THROW(validate_options(pair));
  const auto refused = [&](const std::function<void(PreprocessOptions&)>& change,
                           const std::string& words) {
    auto flags = pair;
    change(flags);
    try {
      validate_options(flags);
      ADD_FAILURE() << words;
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), HasSubstr(words));
    }
  };
  refused([](auto& f) { f.target_lang.reset(); }, "--target-lang");
  refused([](auto& f) { f.source_lang.reset(); }, "without --source-lang");
  refused([](auto& f) { f.target_lang = "zh-cn"; }, "`zh-cn`");
  refused([](auto& f) { f.only_source = f.joined_dictionary = true; }, "--joined-dictionary");
  refused(
      [](auto& f) {
        f.trainpref.reset();
        f.testpref = "test";
        f.srcdict = "dict.de.txt";
      },
      "--tgtdict");
  refused(
      [](auto& f) {
        f.joined_dictionary = true;
        f.srcdict = f.tgtdict = "dict.txt";
      },
      "not both");
  pair.trainpref.reset();
  pair.testpref = "test";
  pair.tgtdict = "dict.txt";
  pair.joined_dictionary = true;
  EXPECT_NO_THROW(validate_options(pair)) << "the joined dictionary is that of the target";
}

TEST(PreprocessOptions, DocumentsAreOfOneLanguage) {
  const auto of_pair = [](const std::function<void(PreprocessOptions&)>& change) {
    PreprocessOptions options;
    options.trainpref = "train";
    options.source_lang = "de";
    options.target_lang = "en";
    change(options);
    return options;
  };
  for (const auto& change : std::vector<std::function<void(PreprocessOptions&)>>{
           [](auto& o) { o.text_column = "body"; }, [](auto& o) { o.document_lines = true; },
           [](auto& o) { o.output_format = "megatron"; }, [](auto& o) { o.megatron_eod = 1; },
           [](auto& o) { o.on_bad_row = "skip"; }}) {
    auto options = of_pair(change);
    EXPECT_THROW(validate_options(options), UsageError);
    options.source_lang.reset();
    options.target_lang.reset();
    options.only_source = true;
    EXPECT_NO_THROW(validate_options(options));
  }
  auto examples = of_pair([](auto& o) { o.on_bad_row = "skip"; });
  examples.source_lang.reset();
  examples.target_lang.reset();
  examples.examples = "jsonl";
  EXPECT_NO_THROW(validate_options(examples));
  examples.examples = "pairs";
  EXPECT_THROW(validate_options(examples), UsageError);
}

TEST(PreprocessOptions, RefuseWhatCannotWork) {
  PreprocessOptions preprocess;
  preprocess.trainpref = "a.txt";
  EXPECT_THROW(validate_options(preprocess), UsageError) << "neither a pair nor --only-source";
  preprocess.only_source = true;
  EXPECT_NO_THROW(validate_options(preprocess));
  preprocess.examples = "jsonl";
  EXPECT_THROW(validate_options(preprocess), UsageError) << "prompts have no language";
  preprocess.only_source = false;
  EXPECT_NO_THROW(validate_options(preprocess));
  preprocess.joined_dictionary = true;
  EXPECT_THROW(validate_options(preprocess), UsageError) << "there is one dictionary anyway";
  preprocess.joined_dictionary = false;
  preprocess.trainpref.reset();
  EXPECT_THROW(validate_options(preprocess), UsageError);
}

}  // namespace
}  // namespace evomoe
