#pragma once

#include <cstdint>

namespace evomoe {

/// From now on the blocks of LibTorch's memory on the CPU that are in use and those that are kept
/// for later (runtime/block_allocator.h) are not more than `bytes` together, as long as those
/// in use alone are not: when a new block makes it so, the kept ones go back to the system.
/// Without a limit, updates of varying sizes (the dense-to-sparse stage, batches of varying
/// lengths) leave gaps behind that no later block may fit into.
void limit_block_memory(int64_t bytes);

}  // namespace evomoe
