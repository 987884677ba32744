#pragma once

namespace evomoe::kernels::cuda {

/// Throws Error: kernel `name` could not be started.
[[noreturn]] void fail_launch(const char* name, const char* reason);

/// Throws Error: CUDA device `device` could not be asked what it is.
[[noreturn]] void fail_device(int device, const char* reason);

}  // namespace evomoe::kernels::cuda
