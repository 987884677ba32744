#pragma once

/// Helpers of vectorised loops must become part of each version of the loop.
#define EVOMOE_INLINE inline __attribute__((always_inline))

namespace evomoe::kernels {

#if defined(__x86_64__)

enum class VectorUnit { kPlain, kAvx2, kAvx512 };

/// The widest one of this machine.
inline VectorUnit vector_unit() {
  static const VectorUnit unit = [] {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      return VectorUnit::kAvx512;
    }
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? VectorUnit::kAvx2
                                                                           : VectorUnit::kPlain;
  }();
  return unit;
}

inline const char* vector_unit_name() {
  switch (vector_unit()) {
    case VectorUnit::kAvx512:
      return "AVX-512";
    case VectorUnit::kAvx2:
      return "AVX2";
    case VectorUnit::kPlain:
      break;
  }
  return "SSE2";
}

template <typename Body>
__attribute__((target("avx2,fma"), noinline)) auto run_with_avx2(const Body& body) {
  return body();
}

template <typename Body>
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"), noinline)) auto
run_with_avx512(const Body& body) {
  return body();
}

/// Calls `body`, a lambda marked always_inline, in the version compiled for this machine's vector
/// unit: the program itself is built for the plain architecture.
template <typename Body>
auto vectorized(const Body& body) {
  switch (vector_unit()) {
    case VectorUnit::kAvx512:
      return run_with_avx512(body);
    case VectorUnit::kAvx2:
      return run_with_avx2(body);
    case VectorUnit::kPlain:
      break;
  }
  return body();
}

#else

inline const char* vector_unit_name() { return "those of the build"; }

template <typename Body>
auto vectorized(const Body& body) {
  return body();
}

#endif

}  // namespace evomoe::kernels

/// Evaluates a call of an EVOMOE_INLINE function whose loops the compiler vectorises, for
/// the widest vector unit of the machine: AVX-512, AVX2 or the plain architecture.
#define EVOMOE_VECTORIZED(...) \
  ::evomoe::kernels::vectorized([=]() __attribute__((always_inline)) { return __VA_ARGS__; })
