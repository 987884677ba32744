#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>

#include "evomoe/models/linear.h"

/// Initial values from counter-based noise: a tensor's values depend on the seed and its name
/// alone, not on the order in which a model is built, the device, or which other tensors exist.
namespace evomoe {

/// Fills `tensor` with U(-bound, bound).
void init_uniform(torch::Tensor& tensor, double bound, uint64_t seed, const std::string& name);

/// Fills `tensor` with N(0, std^2).
void init_normal(torch::Tensor& tensor, double std, uint64_t seed, const std::string& name);

/// Bound of Xavier/Glorot's uniform initialisation (AISTATS 2010) of a weight [out, in].
double xavier_bound(const torch::Tensor& weight, double gain);

/// torch::nn::Linear's default: weight and bias U(+-1/sqrt(fan_in)).
void init_linear(Linear& linear, uint64_t seed, const std::string& name);

}  // namespace evomoe
