#pragma once

#include <cstdint>
#include <cstring>

#include "evomoe/base/host_device.h"

/// The elements that CUDA kernels take: float, and bfloat16 of which only the bits are kept. All
/// arithmetic is in float.
namespace evomoe::kernels::cuda {

/// The upper half of a float's bits; the same memory as LibTorch's BFloat16.
struct BFloat16 {
  uint16_t bits;
};

EVOMOE_HOST_DEVICE inline float to_float(float x) { return x; }

EVOMOE_HOST_DEVICE inline float to_float(BFloat16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// Rounds to the nearest, to even at a tie; NaN stays NaN.
template <typename T>
EVOMOE_HOST_DEVICE inline T from_float(float x);

template <>
EVOMOE_HOST_DEVICE inline float from_float<float>(float x) {
  return x;
}

template <>
EVOMOE_HOST_DEVICE inline BFloat16 from_float<BFloat16>(float x) {
  if (x != x) return {0x7FC0};
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const uint32_t half = 0x7FFF + ((bits >> 16) & 1);
  return {static_cast<uint16_t>((bits + half) >> 16)};
}

}  // namespace evomoe::kernels::cuda
