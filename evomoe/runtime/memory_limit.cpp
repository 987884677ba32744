#include "evomoe/runtime/memory_limit.h"

#include <c10/core/CPUAllocator.h>

#include <atomic>

#include "evomoe/runtime/block_allocator.h"

namespace evomoe {
namespace {

/// In front of the allocator that was there before.
class LimitedAllocator final : public c10::Allocator {
 public:
  /// Never destroyed: tensors may be freed after everything else.
  static LimitedAllocator& instance() {
    static auto* allocator = new LimitedAllocator;
    return *allocator;
  }

  void limit(int64_t bytes) { limit_ = bytes; }

  c10::DataPtr allocate(size_t bytes) override {
    // Afterwards: a kept block may do, and a new one takes no memory before it is written to.
    auto block = inner_->allocate(bytes);
    const auto memory = kernels::block_memory();
    if (memory.kept > 0 && memory.used + memory.kept > limit_) kernels::release_kept_blocks();
    return block;
  }

  c10::DeleterFnPtr raw_deleter() const override { return inner_->raw_deleter(); }

  void copy_data(void* to, const void* from, size_t bytes) const override {
    inner_->copy_data(to, from, bytes);
  }

 private:
  LimitedAllocator() : inner_(c10::GetCPUAllocator()) {}

  c10::Allocator* inner_;
  std::atomic<int64_t> limit_ = 0;
};

}  // namespace

void limit_block_memory(int64_t bytes) {
  auto& allocator = LimitedAllocator::instance();
  allocator.limit(bytes);
  c10::SetCPUAllocator(&allocator, /*priority=*/2);
}

}  // namespace evomoe
