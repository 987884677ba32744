#pragma once

/// Helpers of vectorised loops must become part of each version of the loop.
#define EVOMOE_INLINE inline __attribute__((always_inline))

namespace evomoe::kernels {

#if defined(__x86_64__)

inline bool has_avx2() {
  static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has;
}

template <typename Body>
__attribute__((target("avx2,fma"), noinline)) auto run_with_avx2(const Body& body) {
  return body();
}

/// Calls `body`, a lambda marked always_inline, in a version compiled for AVX2 where the machine
/// has it: the program itself is built for the plain architecture.
template <typename Body>
auto vectorized(const Body& body) {
  return has_avx2() ? run_with_avx2(body) : body();
}

#else

template <typename Body>
auto vectorized(const Body& body) {
  return body();
}

#endif

}  // namespace evomoe::kernels

/// Evaluates a call of an EVOMOE_INLINE function whose loops the compiler vectorises, with AVX2
/// where the machine has it.
#define EVOMOE_VECTORIZED(...) \
  ::evomoe::kernels::vectorized([=]() __attribute__((always_inline)) { return __VA_ARGS__; })
