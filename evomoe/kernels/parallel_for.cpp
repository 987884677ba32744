#include "evomoe/kernels/parallel_for.h"

#include <ATen/Parallel.h>
#include <c10/util/ParallelGuard.h>
#include <dlfcn.h>

#include <algorithm>
#include <exception>
#include <mutex>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#define EVOMOE_THREAD_SANITIZER
#endif
#endif

namespace evomoe::kernels {
namespace {

/// The entry points of the OpenMP runtime that LibTorch has loaded: libgomp's, which LLVM's runtime
/// offers as well.
struct OpenMp {
  void (*parallel)(void (*)(void*), void*, unsigned, unsigned);
  int (*thread)();
  int (*threads)();

  bool usable() const { return parallel != nullptr && thread != nullptr && threads != nullptr; }
};

template <typename Function>
Function symbol(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
}

const OpenMp& open_mp() {
  static const OpenMp functions = {symbol<decltype(OpenMp::parallel)>("GOMP_parallel"),
                                   symbol<decltype(OpenMp::thread)>("omp_get_thread_num"),
                                   symbol<decltype(OpenMp::threads)>("omp_get_num_threads")};
  return functions;
}

struct Region {
  int64_t begin, end, grain;
  c10::function_ref<void(int64_t, int64_t)> body;
  std::mutex mutex;
  std::exception_ptr error;
};

/// Tells ThreadSanitizer what it cannot see in the runtime's own code: what was done before
/// give(region) in one thread comes before what follows take(region) in another.
void give([[maybe_unused]] Region& region) {
#ifdef EVOMOE_THREAD_SANITIZER
  __tsan_release(&region);
#endif
}
void take([[maybe_unused]] Region& region) {
#ifdef EVOMOE_THREAD_SANITIZER
  __tsan_acquire(&region);
#endif
}

/// What each thread of the team does: its own part, if there is one for it.
void run_part(void* argument) {
  auto& region = *static_cast<Region*>(argument);
  take(region);
  const int64_t size = region.end - region.begin;
  const int64_t parts =
      std::min<int64_t>(open_mp().threads(), (size + region.grain - 1) / region.grain);
  const int64_t length = (size + parts - 1) / parts;
  const int64_t begin = region.begin + open_mp().thread() * length;
  if (begin < region.end) {
    try {
      const c10::ParallelGuard guard(true);
      region.body(begin, std::min(region.end, begin + length));
    } catch (...) {
      const std::lock_guard lock(region.mutex);
      if (!region.error) region.error = std::current_exception();
    }
  }
  give(region);
}

}  // namespace

void parallel_for(int64_t begin, int64_t end, int64_t grain,
                  c10::function_ref<void(int64_t, int64_t)> body) {
  if (begin >= end) return;
  at::internal::lazy_init_num_threads();
  grain = std::max<int64_t>(grain, 1);
  if (end - begin <= grain || at::get_num_threads() == 1 || at::in_parallel_region() ||
      !open_mp().usable()) {
    body(begin, end);
    return;
  }
  Region region{begin, end, grain, body, {}, nullptr};
  // The team's size is left to the runtime: libgomp starts new threads whenever it changes.
  give(region);
  open_mp().parallel(run_part, &region, /*num_threads=*/0, /*flags=*/0);
  take(region);
  if (region.error) std::rethrow_exception(region.error);
}

int num_threads() {
  at::internal::lazy_init_num_threads();
  return at::in_parallel_region() ? 1 : at::get_num_threads();
}

}  // namespace evomoe::kernels
