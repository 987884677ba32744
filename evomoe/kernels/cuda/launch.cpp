#include "evomoe/kernels/cuda/launch.h"

#include "evomoe/base/error.h"

// Not in a .cu file: nvcc need not read fmt's headers.
namespace evomoe::kernels::cuda {

void fail_launch(const char* name, const char* reason) {
  fail(
      "the CUDA kernel {} could not be started: {}; if the device has another architecture than "
      "those in CMAKE_CUDA_ARCHITECTURES, build for it, or use --device cpu",
      name, reason);
}

void fail_device(int device, const char* reason) {
  fail("CUDA device {} does not say what it is: {}; nvidia-smi lists the devices", device, reason);
}

}  // namespace evomoe::kernels::cuda
