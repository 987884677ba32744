#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "evomoe/text/byte_bpe.h"

namespace evomoe {

/// BpeEncoders that wait for their next piece of text, so that threads keep the memory of words
/// between pieces.
class EncoderPool {
 public:
  explicit EncoderPool(const ByteBpe& bpe) : bpe_(bpe) {}

  std::unique_ptr<BpeEncoder> take() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return std::make_unique<BpeEncoder>(bpe_);
    auto encoder = std::move(idle_.back());
    idle_.pop_back();
    return encoder;
  }

  void give(std::unique_ptr<BpeEncoder> encoder) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(encoder));
  }

 private:
  const ByteBpe& bpe_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<BpeEncoder>> idle_;
};

}  // namespace evomoe
