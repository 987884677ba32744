// Runs the tests of a program. CTest runs one suite at a time (cmake/test_suites.cmake), so what
// one of its tests skips must be seen from the exit code.
#include <gtest/gtest.h>

namespace {

constexpr int kSkipped =
    77;  ///< nothing failed, and a test was skipped; as in cmake/test_suites.cmake

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const int result = RUN_ALL_TESTS();
  if (result != 0) return result;
  return ::testing::UnitTest::GetInstance()->skipped_test_count() > 0 ? kSkipped : 0;
}
