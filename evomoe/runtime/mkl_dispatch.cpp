#include "evomoe/runtime/mkl_dispatch.h"

#include <cstdlib>
#include <cstring>

namespace evomoe::kernels {
namespace {

bool asked_for_vendor() {
  const char* value = std::getenv("EVOMOE_MKL_BY_VENDOR");
  return value != nullptr && std::strcmp(value, "") != 0 && std::strcmp(value, "0") != 0;
}

#if defined(__x86_64__)

bool made_by_intel() { return __builtin_cpu_is("intel") != 0; }

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512cd") != 0 &&
         __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0;
}

#else

bool made_by_intel() { return false; }
bool has_avx512() { return false; }

#endif

}  // namespace

std::string mkl_dispatch() {
  if (made_by_intel()) return "MKL's own choice (an Intel processor)";
  if (asked_for_vendor()) return "MKL's own choice (EVOMOE_MKL_BY_VENDOR is set)";
  if (!has_avx512()) return "MKL's own choice (no AVX-512)";
  return "AVX-512 by capability, not by vendor (EVOMOE_MKL_BY_VENDOR=1 leaves the choice to MKL)";
}

}  // namespace evomoe::kernels

/// MKL's question, whose answer in a program's own symbols comes before the library's.
extern "C" __attribute__((visibility("default"))) int mkl_serv_intel_cpu_true() {
  using namespace evomoe::kernels;
#if defined(__x86_64__)
  __builtin_cpu_init();
#endif
  return made_by_intel() || (has_avx512() && !asked_for_vendor()) ? 1 : 0;
}
