#pragma once

#include <c10/util/FunctionRef.h>

#include <cstdint>

namespace evomoe::kernels {

/// Runs body(begin, end) over parts of [begin, end) of at least `grain` elements on LibTorch's own
/// threads (torch::set_num_threads); in a parallel region, or for one part, on the calling thread.
/// at::parallel_for does this only in files compiled by GCC with -fopenmp: its body is an OpenMP
/// pragma in a header, and clang's OpenMP would bring a second runtime beside LibTorch's libgomp.
void parallel_for(int64_t begin, int64_t end, int64_t grain,
                  c10::function_ref<void(int64_t, int64_t)> body);

/// The threads that parallel_for has (torch::set_num_threads); 1 inside of one.
int num_threads();

}  // namespace evomoe::kernels
