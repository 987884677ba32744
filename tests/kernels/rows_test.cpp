#include "evomoe/kernels/cpu/rows.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace evomoe::kernels {
namespace {

TEST(RowKernels, GatherAndScatterAddAreThePlainForms) {
  torch::manual_seed(3);
  for (const int64_t rows : {0, 1, 7, 8, 9, 255, 257}) {
    for (const int64_t columns : {1, 5, 64, 1000}) {
      const auto tokens = rows + 10;
      const auto token = torch::randperm(tokens).slice(0, 0, rows).contiguous();
      const auto x = torch::randn({tokens, columns});
      auto gathered = torch::empty({rows, columns});
      gather_rows(x.data_ptr<float>(), token.data_ptr<int64_t>(), gathered.data_ptr<float>(), rows,
                  columns);
      EXPECT_TRUE(torch::equal(gathered, x.index_select(0, token)));

      const auto scale = torch::rand({rows}), bias = torch::randn({columns});
      auto y = x.clone();
      scatter_add_rows(gathered.data_ptr<float>(), token.data_ptr<int64_t>(),
                       scale.data_ptr<float>(), bias.data_ptr<float>(), y.data_ptr<float>(), rows,
                       columns);
      const auto expected = x.index_add(0, token, (gathered + bias) * scale.unsqueeze(1));
      EXPECT_TRUE(torch::allclose(y, expected, 1e-6, 1e-6));

      auto plain = x.clone();
      scatter_add_rows(gathered.data_ptr<float>(), token.data_ptr<int64_t>(), nullptr, nullptr,
                       plain.data_ptr<float>(), rows, columns);
      EXPECT_TRUE(torch::equal(plain, x.index_add(0, token, gathered)));
    }
  }
}

}  // namespace
}  // namespace evomoe::kernels
