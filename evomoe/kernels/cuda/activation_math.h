#pragma once

#include <cmath>

#include "evomoe/base/host_device.h"
#include "evomoe/kernels/cpu/activation.h"

/// The activation functions and their derivatives at one place, for devices whose math library is
/// the fast way; kernels/cpu/activation.cpp has forms that vectorise. NaN goes in and comes out.
namespace evomoe::kernels::cuda {

template <Activation kind>
EVOMOE_HOST_DEVICE inline float activation_value(float x) {
  if constexpr (kind == Activation::kRelu) {
    return x < 0.0F ? 0.0F : x;
  } else if constexpr (kind == Activation::kGelu) {
    return 0.5F * x * std::erfc(-0.70710678118654752440F * x);
  } else if constexpr (kind == Activation::kSilu) {
    return x / (1.0F + std::exp(-x));
  } else {
    const float u = 0.79788456080286535588F * (x + 0.044715F * x * x * x);
    return 0.5F * x * (1.0F + std::tanh(u));
  }
}

template <Activation kind>
EVOMOE_HOST_DEVICE inline float activation_derivative(float x) {
  if constexpr (kind == Activation::kRelu) {
    return x > 0.0F ? 1.0F : 0.0F;
  } else if constexpr (kind == Activation::kGelu) {
    return 0.5F * std::erfc(-0.70710678118654752440F * x) +
           x * 0.39894228040143267794F * std::exp(-0.5F * x * x);
  } else if constexpr (kind == Activation::kSilu) {
    const float logistic = 1.0F / (1.0F + std::exp(-x));
    return logistic * (1.0F + x * (1.0F - logistic));
  } else {
    const float t = std::tanh(0.79788456080286535588F * (x + 0.044715F * x * x * x));
    const float slope = 0.79788456080286535588F * (1.0F + 3.0F * 0.044715F * x * x);
    return 0.5F * (1.0F + t) + 0.5F * x * (1.0F - t * t) * slope;
  }
}

}  // namespace evomoe::kernels::cuda
