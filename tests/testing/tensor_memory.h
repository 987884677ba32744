#pragma once

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <cstdint>
#include <memory>

namespace evomoe::testing {

/// Bytes of the tensors that this thread made while it lives, as LibTorch's allocator reports them.
class TensorMemory {
 public:
  TensorMemory()
      : count_(std::make_shared<Count>()), guard_(c10::DebugInfoKind::PROFILER_STATE, count_) {}

  /// Held now.
  int64_t held() const { return count_->held; }
  /// The most that was held at once since the last restart().
  int64_t peak() const { return count_->peak; }
  void restart() { count_->peak = count_->held; }

 private:
  struct Count : c10::MemoryReportingInfoBase {
    void reportMemoryUsage(void*, int64_t bytes, size_t, size_t, c10::Device) override {
      held += bytes;
      peak = std::max(peak, held);
    }
    bool memoryProfilingEnabled() const override { return true; }
    int64_t held = 0, peak = 0;
  };

  std::shared_ptr<Count> count_;
  c10::DebugInfoGuard guard_;
};

}  // namespace evomoe::testing
