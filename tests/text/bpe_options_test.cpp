#include "evomoe/text/bpe_options.h"

#include <gtest/gtest.h>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

TEST(BpeOptions, BothFilesAreNeeded) {
  BpeFlags bpe;
  bpe.action = "encode";
  EXPECT_THROW(validate_options(bpe), UsageError);

  BpeFiles files;
  EXPECT_NO_THROW(validate_options(files));
  files.gpt2_vocab_bpe = "vocab.bpe";
  EXPECT_THROW(validate_options(files), UsageError);
  EXPECT_THROW(validate_options(BpeFiles{.bpe = "hf"}), UsageError);
  EXPECT_THROW(validate_options(BpeFiles{.bpe = "gpt2", .hf_tokenizer = "x"}), UsageError);
  EXPECT_THROW(validate_options(BpeFiles{.hf_tokenizer = "x"}), UsageError);
  EXPECT_NO_THROW(validate_options(BpeFiles{.bpe = "hf", .hf_tokenizer = "x"}));
  EXPECT_NO_THROW(validate_options(BpeFiles{.bpe = "none"}));

  bpe.hf_tokenizer = "tokenizer.json";
  EXPECT_NO_THROW(validate_options(bpe));
  bpe.gpt2_encoder_json = "encoder.json";
  EXPECT_THROW(validate_options(bpe), UsageError);
}

}  // namespace
}  // namespace evomoe
