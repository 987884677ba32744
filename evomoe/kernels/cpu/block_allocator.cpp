#include "evomoe/kernels/cpu/block_allocator.h"

#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <bit>
#include <iterator>
#include <map>
#include <mutex>
#include <unordered_map>

namespace evomoe::kernels {
namespace {

constexpr size_t kLarge = size_t{1} << 20;
constexpr size_t kHugePage = size_t{1} << 21;
/// Large allocations after which a block that none of them took is given back:
/// some training steps.
constexpr uint64_t kPatience = 8192;

/// The size that blocks for `bytes` have: an eighth of a power of two at most
/// above it, so that blocks of varying numbers of rows can take each other's
/// place.
size_t block_size(size_t bytes) {
  const size_t step = std::bit_floor(bytes) / 8;
  return (bytes + step - 1) / step * step;
}

bool is_aligned(const void *data) {
  return reinterpret_cast<uintptr_t>(data) % kHugePage == 0;
}

/// New pages at the start of a huge page; null where there are none.
void *map_block(size_t size) {
  void *raw = mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED)
    return nullptr;
  const auto first = reinterpret_cast<uintptr_t>(raw);
  const auto begin = (first + kHugePage - 1) / kHugePage * kHugePage;
  if (begin > first)
    munmap(raw, begin - first);
  const auto end = begin + size, last = first + size + kHugePage;
  if (last > end)
    munmap(reinterpret_cast<void *>(end), last - end);
  auto *block = reinterpret_cast<void *>(begin);
  if (size >= kHugePage)
    madvise(block, size, MADV_HUGEPAGE);
  return block;
}

class BlockAllocator final : public c10::Allocator {
public:
  /// Never destroyed: tensors may be freed after everything else.
  static BlockAllocator &instance() {
    static auto *allocator = new BlockAllocator;
    return *allocator;
  }

  c10::DataPtr allocate(size_t bytes) override {
    if (bytes < kLarge)
      return small_->allocate(bytes);
    void *data = take(block_size(bytes));
    return {data, data, &BlockAllocator::free,
            c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override {
    return &BlockAllocator::free;
  }

  void copy_data(void *to, const void *from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

  void release(uint64_t idle_for) {
    const std::lock_guard lock(mutex_);
    release_locked(idle_for);
  }

  BlockMemory memory() {
    const std::lock_guard lock(mutex_);
    return {static_cast<int64_t>(used_bytes_),
            static_cast<int64_t>(kept_bytes_)};
  }

private:
  struct Kept {
    void *data;
    uint64_t since;
  };

  BlockAllocator() : small_(c10::GetDefaultCPUAllocator()) {}

  static void free(void *data) {
    if (data == nullptr)
      return;
    auto &self = instance();
    if (!is_aligned(data) || !self.keep(data))
      self.small_->raw_deleter()(data);
  }

  void *take(size_t size) {
    const std::lock_guard lock(mutex_);
    if (++clock_ % (kPatience / 8) == 0)
      release_locked(kPatience);
    void *data = nullptr;
    if (const auto found = kept_.lower_bound(size);
        found != kept_.end() &&
        (found->first == size ||
         (size < 32 * kLarge && found->first <= size + size / 4))) {
      size = found->first;
      // Of that size, the one freed last: it may still be in the cache.
      const auto newest = std::prev(kept_.upper_bound(size));
      data = newest->second.data;
      kept_.erase(newest);
      kept_bytes_ -= size;
    } else {
      data = map_block(size);
      if (data == nullptr) {
        release_locked(0);
        data = map_block(size);
      }
      TORCH_CHECK_WITH(
          OutOfMemoryError, data != nullptr,
          "there is no memory for a block of ", size, " bytes (", used_bytes_,
          " are in use by tensors); make batches or the model ",
          "smaller, or recompute activations (--checkpoint-activations, ",
          "--recompute-experts)");
    }
    used_.emplace(data, size);
    used_bytes_ += size;
    return data;
  }

  /// Whether `data` is one of our blocks; then it is kept.
  bool keep(void *data) {
    const std::lock_guard lock(mutex_);
    const auto found = used_.find(data);
    if (found == used_.end())
      return false;
    const auto size = found->second;
    used_.erase(found);
    used_bytes_ -= size;
    kept_.emplace(size, Kept{data, clock_});
    kept_bytes_ += size;
    return true;
  }

  void release_locked(uint64_t idle_for) {
    for (auto block = kept_.begin(); block != kept_.end();) {
      if (clock_ - block->second.since < idle_for) {
        ++block;
        continue;
      }
      munmap(block->second.data, block->first);
      kept_bytes_ -= block->first;
      block = kept_.erase(block);
    }
  }

  c10::Allocator *small_;
  std::mutex mutex_;
  std::unordered_map<void *, size_t> used_;
  std::multimap<size_t, Kept> kept_;
  uint64_t clock_ = 0;
  size_t used_bytes_ = 0, kept_bytes_ = 0;
};

} // namespace

void use_block_allocator() {
  c10::SetCPUAllocator(&BlockAllocator::instance(), /*priority=*/1);
}

void release_kept_blocks() { BlockAllocator::instance().release(0); }

BlockMemory block_memory() { return BlockAllocator::instance().memory(); }

} // namespace evomoe::kernels
