#pragma once

#include <cstdint>

/// Rotary positions on the CPU (arXiv 2104.09864).
namespace evomoe::kernels {

/// Turns x [tokens, heads, 2 * half] into y: number j of a head with cosine and sine
/// [turns, half] of its token, number j + half being its pair. The token t has the turn
/// t % turns. The gradient is turned by the opposite angles.
void rotate_heads(const float* x, const float* cosine, const float* sine, float* y, int64_t tokens,
                  int64_t heads, int64_t half, int64_t turns);

}  // namespace evomoe::kernels
