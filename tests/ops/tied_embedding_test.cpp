#include "evomoe/ops/tied_embedding.h"

#include <gtest/gtest.h>

namespace evomoe {
namespace {

constexpr int64_t kPadding = 1;

struct Case {
  torch::Tensor table_VD = torch::randn({11, 5}).requires_grad_();
  torch::Tensor token_BS = torch::tensor({{4L, 0L, 4L}, {7L, kPadding, 10L}});
  torch::Tensor factor_BSD = torch::randn({2, 3, 5});
};

/// The gradient of a table that is looked up and multiplied with, as a language model does.
template <typename Lookup>
torch::Tensor gradient(const Case& c, int64_t passes, Lookup lookup) {
  auto table = c.table_VD.detach().clone().requires_grad_();
  for (int64_t i = 0; i < passes; ++i) {
    const auto x = lookup(table);
    (torch::matmul(torch::tanh(x), table.t()).sum() + (x * c.factor_BSD).sum()).backward();
  }
  return table.grad();
}

TEST(TiedEmbedding, GradientIsThatOfTheLibrarysEmbedding) {
  torch::manual_seed(0);
  const Case c;
  for (const int64_t passes : {1, 2}) {
    const auto ours = gradient(
        c, passes, [&](const auto& table) { return tied_embedding(table, c.token_BS, kPadding); });
    const auto expected = gradient(c, passes, [&](const auto& table) {
      return torch::embedding(table, c.token_BS, kPadding);
    });
    EXPECT_TRUE(torch::allclose(ours, expected, 1e-6, 1e-6)) << passes << " passes";
  }
}

TEST(TiedEmbedding, MakesTheGradientOfATableThatHasNone) {
  const Case c;
  tied_embedding(c.table_VD, c.token_BS, kPadding).sum().backward();
  const auto& grad = c.table_VD.grad();
  EXPECT_EQ(grad[4][0].item<float>(), 2);
  EXPECT_EQ(grad[0][0].item<float>(), 1);
  EXPECT_EQ(grad[kPadding].abs().max().item<float>(), 0);
  EXPECT_EQ(grad[2].abs().max().item<float>(), 0);
}

TEST(TiedEmbedding, RecordsNothingWhereNoGradientIsWanted) {
  Case c;
  {
    const torch::NoGradGuard no_grad;
    EXPECT_FALSE(tied_embedding(c.table_VD, c.token_BS, kPadding).requires_grad());
  }
  c.table_VD.requires_grad_(false);
  const auto rows = tied_embedding(c.table_VD, c.token_BS, kPadding);
  EXPECT_FALSE(rows.requires_grad());
  EXPECT_TRUE(torch::equal(rows[0][1], c.table_VD[0]));
}

}  // namespace
}  // namespace evomoe
