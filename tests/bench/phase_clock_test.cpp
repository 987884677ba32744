#include "evomoe/bench/phase_clock.h"

#include <gtest/gtest.h>

#include "evomoe/base/error.h"

namespace evomoe::bench {
namespace {

TEST(PhaseClock, NotesTheLastGradientOfEachStep) {
  torch::nn::Linear linear(3, 2);
  PhaseClock clock(*linear);
  for (int step = 0; step < 2; ++step) {
    clock.start();
    EXPECT_THROW(clock.until_last_gradient_ms(), Error);
    linear(torch::ones({4, 3})).sum().backward();
    EXPECT_GE(clock.until_last_gradient_ms(), 0);
  }
}

TEST(PhaseClock, LeavesTheModelAsItWas) {
  torch::nn::Linear linear(3, 2);
  { const PhaseClock clock(*linear); }
  linear(torch::ones({4, 3})).sum().backward();
  EXPECT_TRUE(torch::equal(linear->bias.grad(), torch::full({2}, 4.0)));
}

}  // namespace
}  // namespace evomoe::bench
