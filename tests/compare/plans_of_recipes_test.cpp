// The plans of recipes/plans are ones: `make results` makes their runs.
#include <gtest/gtest.h>

#include "evomoe/compare/plan_file.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

TEST(PlansOfRecipes, AreRead) {
  int count = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(testing::source_dir() / "recipes/plans")) {
    ComparePlan plan;
    ASSERT_NO_THROW(plan = read_compare_plan(entry.path())) << entry.path();
    EXPECT_GE(plan.methods.size(), 2U) << entry.path();
    ++count;
  }
  EXPECT_GE(count, 1);
}

}  // namespace
}  // namespace evomoe
