#include "evomoe/kernels/cpu/noise.h"

#include <gtest/gtest.h>

#include <vector>

#include "evomoe/kernels/cuda/noise.h"
#include "tests/kernels/kernel_form.h"

namespace evomoe::kernels {
namespace {

NoiseKey some_key() {
  NoiseKey key;
  key.seed = 7;
  key.update = 3;
  key.layer = 2;
  key.site = NoiseSite::kGateGumbel;
  key.first_sequence = 5;
  key.sequence_length = 4;
  return key;
}

using torch::Tensor;

class NoiseKernels : public KernelForms {
 protected:
  using CpuGrid = void (*)(float*, int64_t, int64_t, const NoiseKey&);
  using CudaGrid = void (*)(float*, int64_t, int64_t, const NoiseKey&, void*);

  static std::vector<float> grid(CpuGrid on_cpu, CudaGrid on_cuda, int64_t rows, int64_t columns,
                                 const NoiseKey& key) {
    const auto out = put(torch::full({rows, columns}, std::nanf("")));
    if (cuda()) {
      on_cuda(data<float>(out), rows, columns, key, kStream);
    } else {
      on_cpu(data<float>(out), rows, columns, key);
    }
    return numbers(out);
  }

  static std::vector<float> uniform(int64_t rows, int64_t columns, const NoiseKey& key) {
    return grid(uniform_noise, cuda::uniform_noise, rows, columns, key);
  }

  /// Dropout in place of `x` [rows, columns]; rows are those of `token`, or in turn where it is
  /// empty.
  static std::vector<float> drop(float x, int64_t rows, int64_t columns,
                                 const std::vector<int64_t>& token, uint32_t first_block,
                                 double probability, const NoiseKey& key) {
    const auto values = put(torch::full({rows, columns}, x));
    const auto tokens = put(torch::tensor(token, torch::kInt64));
    const auto* names = token.empty() ? nullptr : data<int64_t>(tokens);
    if (cuda()) {
      cuda::dropout(data<float>(values), data<float>(values), names, nullptr, rows, columns,
                    first_block, probability, key, kStream);
    } else {
      dropout(data<float>(values), data<float>(values), names, rows, columns, first_block,
              probability, key);
    }
    return numbers(values);
  }

  static std::vector<float> numbers(const Tensor& x) {
    const auto on_cpu = x.cpu();
    return {data<float>(on_cpu), data<float>(on_cpu) + on_cpu.numel()};
  }
};

TEST_P(NoiseKernels, IsPhiloxAtEveryRowAndColumn) {
  const auto key = some_key();
  const auto words = philox_key(key);
  for (const int64_t columns : {1, 4, 7, 31, 32, 33, 100}) {
    constexpr int64_t kRows = 9;
    const auto uniforms = uniform(kRows, columns, key);
    const auto gumbels = grid(gumbel_noise, cuda::gumbel_noise, kRows, columns, key);
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        const auto block =
            philox_row_block(key, words, static_cast<uint64_t>(r), static_cast<uint32_t>(c / 4));
        const auto bits = block[static_cast<size_t>(c % 4)];
        const auto i = static_cast<size_t>(r * columns + c);
        ASSERT_EQ(uniforms[i], unit_open(bits)) << r << " " << c << " of " << columns;
        if (cuda()) {  // its logarithms are its own
          ASSERT_NEAR(gumbels[i], gumbel(bits), 1e-5) << r << " " << c << " of " << columns;
        } else {
          ASSERT_EQ(gumbels[i], gumbel(bits)) << r << " " << c << " of " << columns;
        }
      }
    }
  }
}

TEST_P(NoiseKernels, NormalNumbersHaveMeanZeroAndDeviationOne) {
  constexpr int64_t kRows = 200, kColumns = 501;
  const auto noise = grid(normal_noise, cuda::normal_noise, kRows, kColumns, some_key());
  double sum = 0, squares = 0, fourth = 0;
  for (const double x : noise) {
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
  }
  const auto n = static_cast<double>(noise.size());
  EXPECT_NEAR(sum / n, 0, 0.015);
  EXPECT_NEAR(squares / n, 1, 0.02);
  EXPECT_NEAR(fourth / n, 3, 0.15);
}

TEST_P(NoiseKernels, DropoutKeepsWhatTheUniformNumberSaysAndScalesIt) {
  const auto key = some_key();
  constexpr int64_t kRows = 6;
  constexpr double kProbability = 0.3;
  for (const int64_t columns : {3, 45, 64}) {
    const auto y = drop(2.0F, kRows, columns, {}, /*first_block=*/0, kProbability, key);
    const auto uniforms = uniform(kRows, columns, key);
    for (size_t i = 0; i < y.size(); ++i) {
      EXPECT_EQ(y[i], uniforms[i] >= kProbability ? 2.0F * static_cast<float>(1 / 0.7) : 0.0F) << i;
    }
  }
}

TEST_P(NoiseKernels, DropoutOfNamedTokensIsThatOfTheirRows) {
  const auto key = some_key();
  constexpr int64_t kRows = 6, kColumns = 45;
  const auto y = drop(1.0F, kRows, kColumns, {}, /*first_block=*/3, 0.5, key);
  const std::vector<int64_t> token = {1, 4, 5};
  const auto part = drop(1.0F, 3, kColumns, token, /*first_block=*/3, 0.5, key);
  for (size_t i = 0; i < token.size(); ++i) {
    for (size_t c = 0; c < kColumns; ++c) {
      EXPECT_EQ(part[i * kColumns + c], y[static_cast<size_t>(token[i]) * kColumns + c]);
    }
  }
}

EVOMOE_BOTH_FORMS(NoiseKernels);

class CudaNoiseKernels : public KernelForms {};

TEST_P(CudaNoiseKernels, DropoutOfAGroupIsThatOfTheCpuAtItsBlocks) {
  constexpr int64_t kRows = 5;
  for (const int64_t columns : {45, 64}) {
    const auto x = torch::randn({kRows, columns});
    const auto token = torch::tensor({int64_t{0}, int64_t{3}, int64_t{8}, int64_t{0}, int64_t{8}});
    const auto group = torch::tensor({int64_t{0}, int64_t{0}, int64_t{0}, int64_t{2}, int64_t{2}});
    const auto y = put(x), half = put(x.to(torch::kBFloat16)), token_ = put(token),
               group_ = put(group);
    cuda::dropout(data<float>(y), data<float>(y), data<int64_t>(token_), data<int64_t>(group_),
                  kRows, columns, /*first_block=*/0, 0.4, some_key(), kStream);
    cuda::dropout(data<cuda::BFloat16>(half), data<cuda::BFloat16>(half), data<int64_t>(token_),
                  data<int64_t>(group_), kRows, columns, /*first_block=*/0, 0.4, some_key(),
                  kStream);
    auto expected = torch::empty_like(x);
    for (int64_t r = 0; r < kRows; ++r) {
      const auto first = static_cast<uint32_t>(group[r].item<int64_t>() * ((columns + 3) / 4));
      dropout(data<float>(x) + r * columns, data<float>(expected) + r * columns,
              data<int64_t>(token) + r, 1, columns, first, 0.4, some_key());
    }
    EXPECT_TRUE(torch::equal(y.cpu(), expected));
    EXPECT_TRUE(torch::allclose(half.cpu().to(torch::kFloat32), expected, 1e-2, 1e-6));
    EXPECT_TRUE(torch::equal(half.cpu() == 0, expected == 0));
  }
}

EVOMOE_CUDA_FORM(CudaNoiseKernels);

}  // namespace
}  // namespace evomoe::kernels
