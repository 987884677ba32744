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
}

}  // namespace
}  // namespace evomoe
