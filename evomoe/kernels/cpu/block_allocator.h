#pragma once

#include <cstdint>

/// LibTorch's memory on the CPU, with large blocks kept for the next tensor of about their size. A
/// training step frees and asks for the same large blocks again and again; from the C library each
/// of them comes as new pages, one fault and one clearing each, or leaves gaps in the heap. Blocks
/// lie in huge pages where the system has them. What has not been asked for in a long while goes
/// back to the system, so that the memory of a stage of training ends with it.
namespace evomoe::kernels {

/// For programs, before their first large tensor; a second call does nothing.
void use_block_allocator();

/// Gives all blocks that are kept back to the system.
void release_kept_blocks();

/// Bytes of the blocks that are in use and of those that are kept.
struct BlockMemory {
  int64_t used = 0, kept = 0;
};
BlockMemory block_memory();

}  // namespace evomoe::kernels
