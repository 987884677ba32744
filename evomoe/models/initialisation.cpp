#include "evomoe/models/initialisation.h"

#include <cmath>

#include "evomoe/ops/noise.h"

namespace evomoe {
namespace {

/// FNV-1a, so that a name gives the same key on every machine.
uint64_t hash_name(const std::string& name) {
  uint64_t hash = 0xCBF29CE484222325ULL;
  for (const unsigned char c : name) hash = (hash ^ c) * 0x100000001B3ULL;
  return hash;
}

NoiseKey key_of(uint64_t seed, const std::string& name) {
  NoiseKey key;
  key.seed = splitmix64(seed) ^ hash_name(name);
  key.site = NoiseSite::kInitialisation;
  return key;
}

int64_t rows_of(const torch::Tensor& tensor) { return tensor.dim() < 2 ? 1 : tensor.size(0); }

}  // namespace

void init_uniform(torch::Tensor& tensor, double bound, uint64_t seed, const std::string& name) {
  const torch::NoGradGuard no_grad;
  const auto rows = rows_of(tensor);
  const auto noise =
      uniform_noise(rows, tensor.numel() / rows, key_of(seed, name), tensor.device());
  tensor.copy_((noise * (2 * bound) - bound).view(tensor.sizes()));
}

void init_normal(torch::Tensor& tensor, double std, uint64_t seed, const std::string& name) {
  const torch::NoGradGuard no_grad;
  const auto rows = rows_of(tensor);
  const auto noise = normal_noise(rows, tensor.numel() / rows, key_of(seed, name), tensor.device());
  tensor.copy_((noise * std).view(tensor.sizes()));
}

double xavier_bound(const torch::Tensor& weight, double gain) {
  return gain * std::sqrt(6.0 / static_cast<double>(weight.size(0) + weight.size(1)));
}

void init_linear(Linear& linear, uint64_t seed, const std::string& name) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(linear->weight.size(1)));
  init_uniform(linear->weight, bound, seed, name + ".weight");
  if (linear->bias.defined()) init_uniform(linear->bias, bound, seed, name + ".bias");
}

}  // namespace evomoe
