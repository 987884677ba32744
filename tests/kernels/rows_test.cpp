#include "evomoe/kernels/cpu/rows.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "evomoe/kernels/cuda/rows.h"
#include "tests/kernels/kernel_form.h"

namespace evomoe::kernels {
namespace {

using torch::Tensor;

class RowKernels : public KernelForms {
 protected:
  static Tensor gather(const Tensor& x, const Tensor& token) {
    const auto on_device = put(x), tokens = put(token);
    const auto out = put(torch::full({token.size(0), x.size(1)}, std::nanf("")));
    if (cuda()) {
      cuda::gather_rows(data<float>(on_device), data<int64_t>(tokens), data<float>(out),
                        token.size(0), x.size(1), kStream);
    } else {
      gather_rows(data<float>(on_device), data<int64_t>(tokens), data<float>(out), token.size(0),
                  x.size(1));
    }
    return out.cpu();
  }

  /// y with the rows added; undefined `scale` and `bias` are not given.
  static Tensor scatter_add(const Tensor& x, const Tensor& token, const Tensor& scale,
                            const Tensor& bias, const Tensor& y) {
    const auto on_device = put(x), tokens = put(token), sum = put(y);
    const auto scales = scale.defined() ? put(scale) : scale;
    const auto biases = bias.defined() ? put(bias) : bias;
    const auto* factor = scale.defined() ? data<float>(scales) : nullptr;
    const auto* shift = bias.defined() ? data<float>(biases) : nullptr;
    if (cuda()) {
      cuda::scatter_add_rows(data<float>(on_device), data<int64_t>(tokens), factor, shift,
                             data<float>(sum), x.size(0), x.size(1), kStream);
    } else {
      scatter_add_rows(data<float>(on_device), data<int64_t>(tokens), factor, shift,
                       data<float>(sum), x.size(0), x.size(1));
    }
    return sum.cpu();
  }
};

TEST_P(RowKernels, GatherAndScatterAddAreThePlainForms) {
  torch::manual_seed(3);
  for (const int64_t rows : {0, 1, 7, 8, 9, 255, 257}) {
    for (const int64_t columns : {1, 5, 64, 1000}) {
      const auto tokens = rows + 10;
      const auto token = torch::randperm(tokens).slice(0, 0, rows).contiguous();
      const auto x = torch::randn({tokens, columns});
      const auto gathered = gather(x, token);
      EXPECT_TRUE(torch::equal(gathered, x.index_select(0, token)));

      const auto scale = torch::rand({rows}), bias = torch::randn({columns});
      const auto expected = x.index_add(0, token, (gathered + bias) * scale.unsqueeze(1));
      EXPECT_TRUE(
          torch::allclose(scatter_add(gathered, token, scale, bias, x), expected, 1e-6, 1e-6));
      EXPECT_TRUE(
          torch::equal(scatter_add(gathered, token, {}, {}, x), x.index_add(0, token, gathered)));
    }
  }
}

EVOMOE_BOTH_FORMS(RowKernels);

class CudaRowKernels : public KernelForms {
 protected:
  /// The sum at each token by the kernel, and in float64 by its definition.
  template <typename T>
  static std::pair<Tensor, Tensor> combine(torch::ScalarType type, int64_t tokens, int64_t columns,
                                           bool weighted, bool biased) {
    // Two assignments a token on average; the last token has none.
    const auto rows = 2 * tokens - 2;
    const auto x = torch::randn({rows, columns}).to(type), weight = torch::rand({rows}).to(type);
    const auto bias = torch::randn({3, columns}).to(type);
    const auto group = torch::randint(3, {rows}, torch::kInt64);
    const auto token = torch::randint(std::max<int64_t>(1, tokens - 1), {rows}, torch::kInt64);
    const auto [sorted, order] = at::sort(token, /*stable=*/true, 0, false);
    const auto first = torch::searchsorted(sorted, torch::arange(tokens + 1));
    const auto y = put(torch::full({tokens, columns}, std::nanf(""), type));
    const auto x_ = put(x), weight_ = put(weight), bias_ = put(bias), group_ = put(group),
               first_ = put(first), order_ = put(order);
    cuda::combine_rows(data<T>(x_), weighted ? data<T>(weight_) : nullptr,
                       biased ? data<T>(bias_) : nullptr, data<int64_t>(group_),
                       data<int64_t>(first_), data<int64_t>(order_), data<T>(y), tokens, columns,
                       kStream);
    const auto wide = [](const Tensor& t) { return t.to(torch::kFloat64); };
    auto row = wide(x);
    if (biased) row = row + wide(bias).index_select(0, group);
    if (weighted) row = row * wide(weight).unsqueeze(1);
    const auto expected = torch::zeros({tokens, columns}, torch::kFloat64).index_add(0, token, row);
    return {wide(y.cpu()), expected};
  }
};

TEST_P(CudaRowKernels, CombineAddsUpTheRowsOfEachToken) {
  torch::manual_seed(5);
  for (const int64_t tokens : {1, 7, 8, 257}) {
    for (const int64_t columns : {1, 5, 64, 1000}) {
      for (const bool weighted : {false, true}) {
        for (const bool biased : {false, true}) {
          const auto [y, expected] =
              combine<float>(torch::kFloat32, tokens, columns, weighted, biased);
          EXPECT_TRUE(torch::allclose(y, expected, 1e-5, 1e-5)) << tokens << "x" << columns;
          const auto [half, wanted] =
              combine<cuda::BFloat16>(torch::kBFloat16, tokens, columns, weighted, biased);
          EXPECT_TRUE(torch::allclose(half, wanted, 1e-2, 1e-2)) << tokens << "x" << columns;
        }
      }
    }
  }
}

TEST_P(CudaRowKernels, AddBiasAddsThatOfEachRowsGroup) {
  for (const int64_t columns : {1, 5, 64, 1000}) {
    const auto x = torch::randn({9, columns}), bias = torch::randn({4, columns});
    const auto group = torch::randint(4, {9}, torch::kInt64);
    const auto sum = put(x), bias_ = put(bias), group_ = put(group);
    cuda::add_bias(data<float>(sum), data<float>(bias_), data<int64_t>(group_), 9, columns,
                   kStream);
    EXPECT_TRUE(torch::equal(sum.cpu(), x + bias.index_select(0, group)));
  }
}

TEST_P(CudaRowKernels, RowsThatAreNotAlignedToWideLoadsAreGatheredAsWell) {
  const auto memory = put(torch::arange(100, torch::kFloat32));
  const auto x = memory.slice(0, 1, 97).view({12, 8});  // four bytes off
  const auto token = put(torch::tensor({int64_t{11}, int64_t{0}, int64_t{11}}));
  const auto out = put(torch::zeros({3, 8}));
  cuda::gather_rows(data<float>(x), data<int64_t>(token), data<float>(out), 3, 8, kStream);
  EXPECT_TRUE(torch::equal(out, x.index_select(0, token)));
}

TEST(CudaBFloat16, RoundsAsLibTorchDoes) {
  torch::manual_seed(6);
  const auto x = torch::cat(
      {torch::randn({1000}) * 100, torch::randn({1000}) * 1e-39,
       torch::tensor({INFINITY, -INFINITY, 0.0F, -0.0F, 3.4e38F, 1.00390625F, 1.01171875F})});
  const auto expected = x.to(torch::kBFloat16);
  for (int64_t i = 0; i < x.size(0); ++i) {
    const auto rounded = cuda::from_float<cuda::BFloat16>(x.data_ptr<float>()[i]);
    ASSERT_EQ(rounded.bits, expected.data_ptr<at::BFloat16>()[i].x) << x[i];
    ASSERT_EQ(cuda::to_float(rounded), static_cast<float>(expected.data_ptr<at::BFloat16>()[i]));
  }
  EXPECT_TRUE(std::isnan(cuda::to_float(cuda::from_float<cuda::BFloat16>(std::nanf("")))));
}

EVOMOE_CUDA_FORM(CudaRowKernels);

}  // namespace
}  // namespace evomoe::kernels
