#pragma once

namespace evomoe::testing {

/// Whether this is AddressSanitizer's build, whose shadow of the memory counts as resident.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool kAddressSanitizer = true;
#else
inline constexpr bool kAddressSanitizer = false;
#endif
#else
inline constexpr bool kAddressSanitizer = false;
#endif

}  // namespace evomoe::testing
