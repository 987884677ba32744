#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "evomoe/kernels/cpu/vectorize.h"

/// Elementary functions without branches or calls, so that a loop over them is vectorised. NaN goes
/// in and comes out.
namespace evomoe::kernels {

/// e^x to about 2 units in the last place (Cephes' expf), 0 below -87.3, clamped above 88.3.
EVOMOE_INLINE float exp_fast(float x) {
  const float low = -87.3F, high = 88.3F;
  const float bounded = x < low ? low : (x > high ? high : x);
  const float n = std::floor(bounded * 1.44269504088896341F + 0.5F);
  // ln 2 in two parts, so that the remainder is exact.
  const float r = (bounded - n * 0.693359375F) - n * -2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return x < low ? 0.0F : p * power;
}

/// erf(x) to about 4e-7: the rational approximation that Eigen and XLA use.
EVOMOE_INLINE float erf_fast(float x) {
  const float bounded = x < -4.0F ? -4.0F : (x > 4.0F ? 4.0F : x);
  const float s = bounded * bounded;
  float p = -2.72614225801306e-10F;
  p = p * s + 2.77068142495902e-08F;
  p = p * s + -2.10102402082508e-06F;
  p = p * s + -5.69250639462346e-05F;
  p = p * s + -7.34990630326855e-04F;
  p = p * s + -2.95459980854025e-03F;
  p = p * s + -1.60960333262415e-02F;
  float q = -1.45660718464996e-05F;
  q = q * s + -2.13374055278905e-04F;
  q = q * s + -1.68282697438203e-03F;
  q = q * s + -7.37332916720468e-03F;
  q = q * s + -1.42647390514189e-02F;
  return bounded * p / q;
}

/// tanh(x) to about 2e-7 absolute.
EVOMOE_INLINE float tanh_fast(float x) {
  const float bounded = x > 10.0F ? 10.0F : x;
  return 1.0F - 2.0F / (exp_fast(2.0F * bounded) + 1.0F);
}

}  // namespace evomoe::kernels
