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
  // A NaN has no integer; it is in p as well, so that the power of two does not matter.
  const int32_t bits = (static_cast<int32_t>(n == n ? n : 0.0F) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return x < low ? 0.0F : p * power;
}

/// The distribution function of the standard normal, (1 + erf(x / sqrt 2)) / 2, to about 1e-7
/// absolute and 1e-6 relative in the lower tail: erfc by the Chebyshev fit of Numerical Recipes
/// (section 6.2).
EVOMOE_INLINE float normal_cdf_fast(float x) {
  const float z = (x < 0.0F ? -x : x) * 0.70710678118654752440F;
  const float t = 1.0F / (1.0F + 0.5F * z);
  float p = 0.17087277F;
  p = p * t + -0.82215223F;
  p = p * t + 1.48851587F;
  p = p * t + -1.13520398F;
  p = p * t + 0.27886807F;
  p = p * t + -0.18628806F;
  p = p * t + 0.09678418F;
  p = p * t + 0.37409196F;
  p = p * t + 1.00002368F;
  p = p * t + -1.26551223F;
  const float tail = 0.5F * t * exp_fast(p - z * z);
  return x < 0.0F ? tail : 1.0F - tail;
}

/// 1 / (1 + e^-x), to about 2e-7 relative. It is (1 + tanh(x / 2)) / 2.
EVOMOE_INLINE float logistic_fast(float x) {
  const float a = exp_fast(x < 0.0F ? x : -x);
  const float upper = 1.0F / (1.0F + a);
  return x < 0.0F ? a * upper : upper;
}

}  // namespace evomoe::kernels
