#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <string>

#include "evomoe/kernels/cuda/bfloat16.h"

namespace evomoe::kernels {

/// Kernels have a form for the CPU and one for CUDA devices, which keep the same promises: one test
/// body is run for both. Where the program has no CUDA kernels, the CUDA form is its source run on
/// the CPU (tests/cuda_emulation).
enum class Form { kCpu, kCuda };

/// Where tensors of the CUDA form lie.
inline torch::Device cuda_form_device() {
#ifdef EVOMOE_HAS_CUDA_KERNELS
  return torch::kCUDA;
#else
  return torch::kCPU;
#endif
}

inline bool cuda_form_can_run() {
  return cuda_form_device().is_cpu() || torch::cuda::is_available();
}

class KernelForms : public ::testing::TestWithParam<Form> {
 protected:
  void SetUp() override {
    if (cuda() && !cuda_form_can_run()) {
      GTEST_SKIP() << "the CUDA kernels are linked, but LibTorch sees no CUDA device";
    }
  }

  static bool cuda() { return GetParam() == Form::kCuda; }

  /// A copy of x where the form's tensors lie.
  static torch::Tensor put(const torch::Tensor& x) {
    return x.to(cuda() ? cuda_form_device() : torch::kCPU, x.scalar_type(), /*non_blocking=*/false,
                /*copy=*/true);
  }
};

inline std::string form_name(const ::testing::TestParamInfo<Form>& info) {
  return info.param == Form::kCpu ? "Cpu" : "Cuda";
}

/// The current stream of the tests.
inline void* const kStream = nullptr;

/// A tensor's data as the CUDA kernels take it.
template <typename T>
T* data(const torch::Tensor& x) {
  if constexpr (std::is_same_v<T, cuda::BFloat16>) {
    return reinterpret_cast<T*>(x.data_ptr<at::BFloat16>());
  } else {
    return x.data_ptr<T>();
  }
}

}  // namespace evomoe::kernels

#define EVOMOE_BOTH_FORMS(suite) \
  INSTANTIATE_TEST_SUITE_P(Forms, suite, ::testing::Values(Form::kCpu, Form::kCuda), form_name)
#define EVOMOE_CUDA_FORM(suite) \
  INSTANTIATE_TEST_SUITE_P(Forms, suite, ::testing::Values(Form::kCuda), form_name)
