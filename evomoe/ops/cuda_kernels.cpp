#include "evomoe/ops/cuda_kernels.h"

#include "evomoe/base/error.h"

// LibTorch's C interface (torch/csrc/inductor/aoti_torch/c/shim.h declares it for CUDA builds
// only): unlike its C++ twin it needs no header of CUDA. Absent from LibTorch for the CPU.
extern "C" int32_t aoti_torch_get_current_cuda_stream(int32_t device_index, void** stream)
    __attribute__((weak));

namespace evomoe {

bool cuda_kernels_take(const torch::Tensor& x) {
  return x.is_cuda() && (x.scalar_type() == torch::kFloat32 || x.scalar_type() == torch::kBFloat16);
}

DeviceStream::DeviceStream(const torch::Tensor& x) : guard_(x.device()) {
  if (!x.is_cuda()) return;
  EVOMOE_CHECK(aoti_torch_get_current_cuda_stream != nullptr &&
                   aoti_torch_get_current_cuda_stream(x.get_device(), &stream_) == 0,
               "LibTorch does not tell the CUDA stream of {}; LibTorch 2.11 to 2.13 built for CUDA "
               "does (EVOMOE_TORCH)",
               c10::str(x.device()));
}

}  // namespace evomoe
