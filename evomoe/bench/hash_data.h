#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace evomoe::bench {

/// Test data that every program can make for itself, so that results can be compared by checksum:
/// numbers are a hash (the splitmix64 finaliser) of a stream `tag` and an element `index` from 0.
/// The recipe is that of the PyTorch benchmarks whose results are set beside ours.
uint64_t hash_word(uint64_t tag, uint64_t index);
/// A multiple of 2^-23 in [-1, 1).
double hash_value(uint64_t tag, uint64_t index);
/// In (0, 1), with 53 random bits.
double hash_open_unit(uint64_t tag, uint64_t index);

/// hash_value * scale of a row-major float32 tensor.
torch::Tensor hash_tensor(uint64_t tag, torch::IntArrayRef shape, double scale = 1.0);
/// Token ids: hash_word mod `vocab`.
std::vector<int64_t> hash_tokens(uint64_t tag, int64_t count, int64_t vocab);

/// A checksum that sees values, order and signs: the inner product of the elements, in row-major
/// order, with the stream `tag`, in float64.
double projection(const torch::Tensor& tensor, uint64_t tag);

}  // namespace evomoe::bench
