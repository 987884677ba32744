#pragma once

namespace evomoe::kernels::cuda {

/// The compute capability of CUDA device `device`: 90 for 9.0. Error: there is no such device.
int compute_capability(int device);

}  // namespace evomoe::kernels::cuda
