// The threads of a block as contexts that take turns: each runs to the next barrier.
#include <ucontext.h>

#include <array>
#include <memory>
#include <stdexcept>

#include "tests/cuda_emulation/cuda_runtime.h"

dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace cuda_emulation {

uint64_t offered[kMostThreads];

namespace {

constexpr size_t kStackBytes = size_t{1} << 16;

struct Thread {
  ucontext_t context;
  bool ended = false;
};

std::array<Thread, kMostThreads> all_threads;
ucontext_t scheduler;
const std::function<void()>* running_kernel = nullptr;

void thread_main() {
  (*running_kernel)();
  all_threads[threadIdx.x].ended = true;
}

char* stack_of(unsigned thread) {
  static const auto stacks = std::make_unique<char[]>(kStackBytes * kMostThreads);
  return stacks.get() + thread * kStackBytes;
}

void run_block(unsigned threads) {
  for (unsigned t = 0; t < threads; ++t) {
    auto& thread = all_threads[t];
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = stack_of(t);
    thread.context.uc_stack.ss_size = kStackBytes;
    thread.context.uc_link = &scheduler;
    thread.ended = false;
    makecontext(&thread.context, thread_main, 0);
  }
  for (unsigned ended = 0; ended < threads;) {
    for (unsigned i = 0; i < threads; ++i) {
      // Every other block from its last thread on, so that a missing barrier is felt.
      const unsigned t = blockIdx.x % 2 == 0 ? i : threads - 1 - i;
      threadIdx = dim3(t);
      if (swapcontext(&scheduler, &all_threads[t].context) != 0) {
        throw std::runtime_error("the emulation of CUDA cannot switch between threads");
      }
      ended += all_threads[t].ended ? 1 : 0;
    }
    if (ended != 0 && ended != threads) {
      throw std::runtime_error("a CUDA thread ended while others of its block wait for it");
    }
  }
}

}  // namespace

void run(unsigned blocks, unsigned threads, const std::function<void()>& kernel) {
  if (threads == 0 || threads > kMostThreads) {
    throw std::runtime_error("a block must have 1 to 256 threads");
  }
  running_kernel = &kernel;
  gridDim = dim3(blocks);
  blockDim = dim3(threads);
  for (unsigned block = 0; block < blocks; ++block) {
    blockIdx = dim3(block);
    run_block(threads);
  }
}

}  // namespace cuda_emulation

void __syncthreads() {
  using namespace cuda_emulation;
  swapcontext(&all_threads[threadIdx.x].context, &scheduler);
}
