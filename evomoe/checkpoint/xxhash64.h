#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace evomoe {

/// XXH64 with seed 0 (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md), fed piece by piece.
/// A checksum against damage, not against forgery; several GB/s.
class XxHash64 {
 public:
  void update(std::string_view bytes);
  /// The checksum of everything so far.
  uint64_t digest() const;

 private:
  std::array<uint64_t, 4> lane_ = {0x60EA27EEADC0B5D6ULL, 0xC2B2AE3D27D4EB4FULL, 0,
                                   0x61C8864E7A143579ULL};
  std::array<char, 32> buffer_{};
  size_t buffered_ = 0;
  uint64_t total_ = 0;
};

/// XXH64 of `bytes`.
uint64_t xxhash64(std::string_view bytes);

}  // namespace evomoe
