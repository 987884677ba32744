#include "evomoe/runtime/block_allocator.h"

#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <mutex>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(data, bytes) ((void)(data), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(data, bytes) ((void)(data), (void)(bytes))
#endif

namespace evomoe::kernels {
namespace {

constexpr size_t kLarge = size_t{1} << 20;
/// Addresses of blocks and their sizes are multiples of it: what files are written from past the
/// page cache has to lie so, and the system takes memory back in whole pages.
size_t page_size() {
  static const auto size = std::max(size_t{1} << 12, static_cast<size_t>(sysconf(_SC_PAGESIZE)));
  return size;
}
constexpr size_t kHugePage = size_t{1} << 21;
/// The range is made usable in steps of it.
constexpr size_t kGrowth = size_t{1} << 26;
/// Large allocations after which memory that none of them took is given back: some training steps.
constexpr uint64_t kPatience = 8192;

constexpr size_t round_up(size_t value, size_t step) { return (value + step - 1) / step * step; }

/// A range of addresses, of which the beginning is memory.
class Range {
 public:
  Range() {
    const auto memory =
        static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
    // Addresses cost nothing, but there may be a limit on them, and others need some too.
    auto most = 4 * memory;
    rlimit limit{};
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
      most = std::min(most, static_cast<size_t>(limit.rlim_cur) / 2);
    for (size_t size = round_up(most, kGrowth); size >= kGrowth; size /= 2) {
      void* raw = mmap(nullptr, size + kHugePage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (raw == MAP_FAILED) continue;
      begin_ = round_up(reinterpret_cast<uintptr_t>(raw), kHugePage);
      size_ = size / kHugePage * kHugePage;
      return;
    }
  }

  bool contains(const void* data) const {
    const auto address = reinterpret_cast<uintptr_t>(data);
    return address >= begin_ && address < begin_ + size_;
  }
  void* at(size_t offset) const { return reinterpret_cast<void*>(begin_ + offset); }
  size_t offset(const void* data) const { return reinterpret_cast<uintptr_t>(data) - begin_; }
  size_t size() const { return size_; }

  /// Makes the first `end` bytes usable. False: the system has no memory for that.
  bool grow(size_t end) {
    if (end <= usable_) return true;
    const auto more = std::min(round_up(end, kGrowth), size_) - usable_;
    if (end > size_ || mprotect(at(usable_), more, PROT_READ | PROT_WRITE) != 0) return false;
    madvise(at(usable_), more, MADV_HUGEPAGE);
    ASAN_POISON_MEMORY_REGION(at(usable_), more);  // AddressSanitizer: nobody's until it is taken
    usable_ += more;
    return true;
  }

  /// Gives the memory of [begin, end) back; the addresses stay usable, with zeros. False: the
  /// system did not take it.
  bool release(size_t begin, size_t end) const {
    return begin >= end || madvise(at(begin), end - begin, MADV_DONTNEED) == 0;
  }

 private:
  uintptr_t begin_ = 0;
  size_t size_ = 0, usable_ = 0;
};

class BlockAllocator final : public c10::Allocator {
 public:
  /// Never destroyed: tensors may be freed after everything else.
  static BlockAllocator& instance() {
    static auto* allocator = new BlockAllocator;
    return *allocator;
  }

  c10::DataPtr allocate(size_t bytes) override {
    if (bytes < kLarge) return small_->allocate(bytes);
    void* data = take(round_up(bytes, page_size()));
    // Beyond the range the system may still have memory; else this says that there is none.
    if (data == nullptr) return small_->allocate(bytes);
    ASAN_UNPOISON_MEMORY_REGION(data, bytes);
    return {data, data, &BlockAllocator::free, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &BlockAllocator::free; }

  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

  void release_kept() {
    const std::lock_guard lock(mutex_);
    recent_end_ = used_end();
    cut_end(recent_end_);
    for (auto& [begin, gap] : gaps_) {
      if (!range_.release(begin, begin + gap.size)) continue;
      kept_bytes_ -= gap.kept;
      gap.kept = 0;
    }
  }

  BlockMemory memory() {
    const std::lock_guard lock(mutex_);
    return {static_cast<int64_t>(used_bytes_), static_cast<int64_t>(kept_bytes_)};
  }

 private:
  BlockAllocator() : small_(c10::GetDefaultCPUAllocator()) {}

  static void free(void* data) {
    if (data == nullptr) return;
    auto& self = instance();
    if (self.range_.contains(data)) {
      self.keep(self.range_.offset(data));
    } else {
      self.small_->raw_deleter()(data);
    }
  }

  /// Free addresses between blocks, or behind the last one.
  struct Gap {
    size_t size;
    size_t kept;  ///< bytes of it that are memory
  };

  /// A block, or null when the range or the system's memory is used up.
  void* take(size_t size) {
    const std::lock_guard lock(mutex_);
    if (++clock_ % kPatience == 0) release_unused_end();
    auto gap = std::find_if(gaps_.begin(), gaps_.end(),
                            [&](const auto& entry) { return entry.second.size >= size; });
    if (gap == gaps_.end()) gap = widen_end(size);
    if (gap == gaps_.end()) return nullptr;
    const auto begin = gap->first;
    Gap rest{gap->second.size - size, gap->second.kept};
    // Which part of a gap is memory is known only when all of it is. (After a release a part may
    // not be: then what is left over is given back as well.)
    const bool whole = gap->second.kept == gap->second.size;
    if (whole || range_.release(begin + size, begin + gap->second.size))
      rest.kept = whole ? rest.size : 0;
    kept_bytes_ -= gap->second.kept - rest.kept;
    gaps_.erase(gap);
    if (rest.size > 0) gaps_.emplace(begin + size, rest);
    used_.emplace(begin, size);
    used_bytes_ += size;
    recent_end_ = std::max(recent_end_, begin + size);
    return range_.at(begin);
  }

  /// The gap at the end, made `size` long; none when there is no memory for that.
  std::map<size_t, Gap>::iterator widen_end(size_t size) {
    auto last = gaps_.empty() ? gaps_.end() : std::prev(gaps_.end());
    if (last == gaps_.end() || last->first + last->second.size != end_)
      last = gaps_.emplace(end_, Gap{0, 0}).first;
    const auto end = last->first + size;
    if (!range_.grow(end)) {
      if (last->second.size == 0) gaps_.erase(last);
      return gaps_.end();
    }
    last->second.size = size;
    end_ = end;
    return last;
  }

  void keep(size_t begin) {
    const std::lock_guard lock(mutex_);
    const auto block = used_.find(begin);
    TORCH_INTERNAL_ASSERT(block != used_.end(), "a block is freed that is not in use");
    Gap gap{block->second, block->second};
    ASAN_POISON_MEMORY_REGION(range_.at(begin), gap.size);
    used_.erase(block);
    used_bytes_ -= gap.size;
    kept_bytes_ += gap.size;
    const auto absorb = [&](std::map<size_t, Gap>::iterator neighbour) {
      gap.size += neighbour->second.size;
      gap.kept += neighbour->second.kept;
      return gaps_.erase(neighbour);
    };
    auto next = gaps_.lower_bound(begin);
    if (next != gaps_.end() && next->first == begin + gap.size) next = absorb(next);
    if (next != gaps_.begin()) {
      if (const auto previous = std::prev(next); previous->first + previous->second.size == begin) {
        begin = previous->first;
        next = absorb(previous);
      }
    }
    gaps_.emplace_hint(next, begin, gap);
  }

  size_t used_end() const {
    return used_.empty() ? 0 : used_.rbegin()->first + used_.rbegin()->second;
  }

  /// Takes [end, end_), which is free, out of the last gap and gives it back.
  void cut_end(size_t end) {
    if (end < end_) {
      const auto last = std::prev(gaps_.end());
      range_.release(end, end_);
      auto& gap = last->second;
      gap.size = end - last->first;
      const auto kept = std::min(gap.kept, gap.size);
      kept_bytes_ -= gap.kept - kept;
      gap.kept = kept;
      if (gap.size == 0) gaps_.erase(last);
      end_ = end;
    }
  }

  void release_unused_end() {
    cut_end(recent_end_);
    recent_end_ = used_end();
  }

  c10::Allocator* small_;
  Range range_;
  std::mutex mutex_;
  std::map<size_t, size_t> used_;  ///< sizes of the blocks by where they begin in the range
  std::map<size_t, Gap> gaps_;     ///< by where they begin; two never touch
  size_t end_ = 0;                 ///< of all blocks and gaps
  size_t recent_end_ = 0;          ///< of the blocks since memory was given back last
  size_t used_bytes_ = 0, kept_bytes_ = 0;
  uint64_t clock_ = 0;
};

}  // namespace

void use_block_allocator() { c10::SetCPUAllocator(&BlockAllocator::instance(), /*priority=*/1); }

void release_kept_blocks() { BlockAllocator::instance().release_kept(); }

BlockMemory block_memory() { return BlockAllocator::instance().memory(); }

}  // namespace evomoe::kernels
