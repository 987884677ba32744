#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "evomoe/base/philox.h"

/// Grids of counter-based random numbers (base/philox.h): row t is token t of the micro-batch, and
/// the number at (t, c) is a pure function of the key, of the sequence and position of the token,
/// and of c. The numbers do not depend on the threads or the size of the grid; nor on the device,
/// but for the last bits of the logarithms in Gumbel and normal numbers.
namespace evomoe {

/// Uniform numbers strictly inside (0, 1), float32 [rows, columns]. Error: a negative size.
torch::Tensor uniform_noise(int64_t rows, int64_t columns, const NoiseKey& key,
                            torch::Device device);

/// Gumbel(0, 1) numbers -log(-log(u)), float32 [rows, columns].
torch::Tensor gumbel_noise(int64_t rows, int64_t columns, const NoiseKey& key,
                           torch::Device device);

/// Standard normal numbers (Box and Muller, 1958), float32 [rows, columns].
torch::Tensor normal_noise(int64_t rows, int64_t columns, const NoiseKey& key,
                           torch::Device device);

/// Philox words of whole blocks of four for given tokens, int64 [N, 4 * num_blocks], each in
/// [0, 2^32): blocks first_block ... of the rows `token_N` (int64 [N]). Made of tensor operations,
/// so it runs where `token_N` lies.
torch::Tensor philox_words(const torch::Tensor& token_N, int64_t first_block, int64_t num_blocks,
                           const NoiseKey& key);

}  // namespace evomoe
