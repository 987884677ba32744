#include "evomoe/score/score_options.h"

#include <gtest/gtest.h>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

TEST(ScoreOptions, TwoFilesOnStdinAreRefused) {
  ScoreOptions score;
  score.ref = "-";
  EXPECT_THROW(validate_options(score), UsageError) << "two files on stdin";
}

}  // namespace
}  // namespace evomoe
