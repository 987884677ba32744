#include "evomoe/ops/philox_dropout.h"

#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/ops/noise.h"
#include "tests/ops/finite_difference.h"

namespace evomoe {
namespace {

NoiseKey dropout_key() {
  NoiseKey key;
  key.seed = 5;
  key.update = 9;
  key.layer = 1;
  key.site = NoiseSite::kFeedForwardDropout;
  key.sequence_length = 3;
  return key;
}

TEST(PhiloxDropout, KeepsAndScalesByTheUniformNumbers) {
  const auto x = torch::arange(1, 2 * 3 * 10 + 1, torch::kFloat32).view({2, 3, 10});
  const auto y = philox_dropout(x, 0.4, dropout_key());
  const auto keep = uniform_noise(6, 10, dropout_key(), torch::kCPU).view({2, 3, 10}) >= 0.4;
  EXPECT_TRUE(torch::allclose(y, x * keep / 0.6));
}

TEST(PhiloxDropout, EveryTypeGetsTheSameMask) {
  const auto x = torch::ones({30, 33});
  const auto y = philox_dropout(x, 0.25, dropout_key());
  for (const auto type : {torch::kFloat64, torch::kBFloat16}) {
    EXPECT_TRUE(torch::equal(y > 0, philox_dropout(x.to(type), 0.25, dropout_key()) > 0));
  }
  EXPECT_NEAR((y > 0).to(torch::kFloat32).mean().item<double>(), 0.75, 0.05);
}

TEST(PhiloxDropout, RowsMayNameTheirTokens) {
  const auto x = torch::ones({6, 40});
  const auto token_N = torch::tensor({4, 0, 17, 4, 5, 1}, torch::kInt64);
  const auto all = philox_dropout(torch::ones({18, 40}), 0.3, dropout_key());
  EXPECT_TRUE(torch::equal(philox_dropout(x, 0.3, dropout_key(), token_N), all.index({token_N})));
  auto wide = torch::ones({6, 40}, torch::kFloat64).requires_grad_(true);
  const auto y = philox_dropout(wide, 0.3, dropout_key(), token_N);
  EXPECT_TRUE(torch::equal(y > 0, all.index({token_N}) > 0));
  y.sum().backward();
  EXPECT_TRUE(torch::equal(wide.grad(), y));
  EXPECT_THROW(philox_dropout(x, 0.3, dropout_key(), token_N.slice(0, 1)), Error);
}

TEST(PhiloxDropout, ANonContiguousInputIsSeenByItsRows) {
  const auto x = torch::randn({10, 6});
  EXPECT_TRUE(torch::equal(philox_dropout(x.t(), 0.5, dropout_key()),
                           philox_dropout(x.t().contiguous(), 0.5, dropout_key())));
}

TEST(PhiloxDropout, BackwardUsesTheSameMask) {
  torch::manual_seed(1);
  const auto r = torch::randn({6, 7}, torch::kFloat64);
  const auto error = testing::gradient_error(
      [&](const auto& in) { return (philox_dropout(in[0], 0.3, dropout_key()) * r).sum(); },
      {torch::randn({6, 7}, torch::kFloat64)});
  EXPECT_LT(error, 1e-8);
  auto x = torch::randn({6, 40}).requires_grad_(true);
  const auto y = philox_dropout(x, 0.3, dropout_key());
  y.sum().backward();
  EXPECT_TRUE(torch::equal(x.grad() > 0, y != 0));
}

TEST(PhiloxDropout, NoProbabilityIsTheIdentity) {
  const auto x = torch::randn({3, 4});
  EXPECT_TRUE(philox_dropout(x, 0, dropout_key()).is_same(x));
}

TEST(PhiloxDropout, AnEmptyInputStaysEmpty) {
  EXPECT_EQ(philox_dropout(torch::empty({0, 4}), 0.5, dropout_key()).numel(), 0);
  EXPECT_EQ(philox_dropout(torch::empty({3, 0}), 0.5, dropout_key()).numel(), 0);
}

TEST(PhiloxDropout, AProbabilityOutsideItsRangeIsAnError) {
  for (const double p : {-0.1, 1.0, std::nan("")}) {
    EXPECT_THROW(philox_dropout(torch::ones({2, 2}), p, dropout_key()), Error) << p;
  }
}

}  // namespace
}  // namespace evomoe
