#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

struct XXH64_state_s;  // of libxxhash

namespace evomoe {

/// XXH64 with seed 0, fed piece by piece. A checksum against damage, not against forgery; several
/// GB/s.
class XxHash64 {
 public:
  XxHash64();
  void update(std::string_view bytes);
  /// The checksum of everything so far.
  uint64_t digest() const;

 private:
  struct Free {
    void operator()(XXH64_state_s* state) const;
  };
  std::unique_ptr<XXH64_state_s, Free> state_;
};

/// XXH64 of `bytes`.
uint64_t xxhash64(std::string_view bytes);

}  // namespace evomoe
