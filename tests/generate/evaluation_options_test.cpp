#include "evomoe/generate/evaluation_options.h"

#include <gtest/gtest.h>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

TEST(EvalLmOptions, TheWindowLeavesATokenToScore) {
  EvalLmOptions eval;
  eval.tokens_per_sample = 64;
  eval.context_window = 64;
  EXPECT_THROW(validate_options(eval), UsageError);
}

}  // namespace
}  // namespace evomoe
