#pragma once

#include <torch/torch.h>

#include <type_traits>

#include "evomoe/kernels/cuda/bfloat16.h"

/// Between tensors and the kernels of kernels/cuda. Operations call those under
/// `if constexpr (kHasCudaKernels)`: without them the calls are compiled all the same, but nothing
/// asks the linker for what is not there.
namespace evomoe {

/// Whether this program was built with CUDA kernels for a LibTorch with CUDA (docs/gpu.md).
#ifdef EVOMOE_HAS_CUDA_KERNELS
inline constexpr bool kHasCudaKernels = true;
#else
inline constexpr bool kHasCudaKernels = false;
#endif

/// Whether the kernels take x: on a CUDA device, float32 or bfloat16.
bool cuda_kernels_take(const torch::Tensor& x);

/// Makes x's device the one that kernels are started on, for as long as it lives, and knows
/// LibTorch's current stream there (null where x is on the CPU).
class DeviceStream {
 public:
  explicit DeviceStream(const torch::Tensor& x);
  void* get() const { return stream_; }

 private:
  c10::DeviceGuard guard_;
  void* stream_ = nullptr;
};

/// x's data as the kernels take it; T is float, double, int64_t or kernels::cuda::BFloat16.
template <typename T>
T* kernel_data(const torch::Tensor& x) {
  if constexpr (std::is_same_v<T, kernels::cuda::BFloat16>) {
    return reinterpret_cast<T*>(x.data_ptr<at::BFloat16>());
  } else {
    return x.data_ptr<T>();
  }
}

/// The same; null for an undefined tensor.
template <typename T>
T* kernel_data_or_null(const torch::Tensor& x) {
  return x.defined() ? kernel_data<T>(x) : nullptr;
}

/// Calls body(element) with a float or a kernels::cuda::BFloat16, as x's type is.
template <typename Body>
void with_element(const torch::Tensor& x, const Body& body) {
  if (x.scalar_type() == torch::kBFloat16) {
    body(kernels::cuda::BFloat16());
  } else {
    body(float());
  }
}

}  // namespace evomoe
