#include "evomoe/checkpoint/xxhash64.h"

#include <xxhash.h>

#include <new>

namespace evomoe {

void XxHash64::Free::operator()(XXH64_state_s* state) const { XXH64_freeState(state); }

XxHash64::XxHash64() : state_(XXH64_createState()) {
  if (state_ == nullptr || XXH64_reset(state_.get(), /*seed=*/0) != XXH_OK) throw std::bad_alloc();
}

void XxHash64::update(std::string_view bytes) {
  if (!bytes.empty()) XXH64_update(state_.get(), bytes.data(), bytes.size());
}

uint64_t XxHash64::digest() const { return XXH64_digest(state_.get()); }

uint64_t xxhash64(std::string_view bytes) { return XXH64(bytes.data(), bytes.size(), /*seed=*/0); }

}  // namespace evomoe
