#pragma once

#include <cstdint>

/// LibTorch's memory on the CPU, with the memory of freed large tensors kept for the next ones. A
/// training step frees and asks for the same memory again and again; from the C library each large
/// tensor comes as new pages, one fault and one clearing each. Large tensors lie side by side in
/// one range of addresses, each in the lowest gap that holds it, so that activations of the forward
/// pass take the place of the gradients of the last one and give it back. The range has huge pages
/// where the system has them. Its end goes back to the system when nothing has been asked for there
/// in a long while, so that the memory of a stage of training ends with it.
namespace evomoe::kernels {

/// For programs, before their first large tensor; a second call does nothing.
void use_block_allocator();

/// Gives all memory that is kept back to the system.
void release_kept_blocks();

/// Bytes in use by large tensors, and those kept for the next ones.
struct BlockMemory {
  int64_t used = 0, kept = 0;
};
BlockMemory block_memory();

}  // namespace evomoe::kernels
