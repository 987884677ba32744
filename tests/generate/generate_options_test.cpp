#include "evomoe/generate/generate_options.h"

#include <gtest/gtest.h>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

TEST(GenerateOptions, ASearchAndPromptsDoNotMix) {
  GenerateOptions prompts;
  EXPECT_NO_THROW(validate_prompts(prompts));
  prompts.num_samples = 3;
  EXPECT_NO_THROW(validate_prompts(prompt_options(prompts, /*running_text=*/false)));
  prompts.sampling = false;
  EXPECT_THROW(validate_prompts(prompts), UsageError) << "--greedy";
  prompts.sampling.reset();
  prompts.search.lenpen = 0.6;
  EXPECT_THROW(validate_prompts(prompts), UsageError);

  GenerateOptions data;
  data.num_samples = 5;
  EXPECT_NO_THROW(validate_generation(data));
  data.num_samples = 6;
  EXPECT_THROW(validate_generation(data), UsageError) << "more than the beam";
  data.sampling = true;
  data.num_samples = 1;
  EXPECT_THROW(validate_generation(data), UsageError) << "as fairseq: all samples are written";
  data.gen_subset = "test";
  EXPECT_THROW(validate_options(data), UsageError) << "without DATA";
  data.data = "data-bin";
  EXPECT_NO_THROW(validate_options(data));
  data.prompt = "a";
  EXPECT_THROW(validate_options(data), UsageError);
}

TEST(GenerateOptions, PromptsOfRunningTextAreSampledAndGoOnBehindLines) {
  const auto text = prompt_options({}, /*running_text=*/true);
  EXPECT_TRUE(*text.sampling && *text.ignore_eos);
  EXPECT_EQ(text.sampling_topk, 50);
  const auto lines = prompt_options({}, /*running_text=*/false);
  EXPECT_FALSE(*lines.sampling || *lines.ignore_eos);
  GenerateOptions given;
  given.sampling = given.ignore_eos = false;
  given.sampling_topk = -1;
  const auto kept = prompt_options(given, /*running_text=*/true);
  EXPECT_FALSE(*kept.sampling || *kept.ignore_eos);
  EXPECT_EQ(kept.sampling_topk, -1);
  GenerateOptions filtered;
  filtered.sampling_topp = 0.9;
  EXPECT_TRUE(*prompt_options(filtered, /*running_text=*/false).sampling);
}

TEST(GenerateOptions, RefuseWhatCannotWork) {
  GenerateOptions generate;
  EXPECT_NO_THROW(validate_options(generate));
  generate.sampling_topk = 5;
  EXPECT_THROW(validate_generation(generate), UsageError) << "a search";
  generate.sampling = false;
  EXPECT_THROW(validate_options(generate), UsageError) << "--greedy";
  generate.sampling = true;
  EXPECT_NO_THROW(validate_options(generate));
  generate.bpe.bpe = "gpt2";
  EXPECT_THROW(validate_options(generate), UsageError);
}

TEST(InteractiveOptions, RefuseWhatCannotWork) {
  InteractiveOptions interactive;
  EXPECT_NO_THROW(validate_options(interactive));
  interactive.search.batch_size = 8;
  EXPECT_THROW(validate_options(interactive), UsageError) << "more than --buffer-size";
  interactive.buffer_size = 8;
  EXPECT_NO_THROW(validate_options(interactive));
  interactive.min_len = 201;
  EXPECT_THROW(validate_options(interactive), UsageError);
}

}  // namespace
}  // namespace evomoe
