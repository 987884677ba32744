#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "evomoe/parallel/communicator.h"

namespace evomoe {

/// Spherical k-means (Dhillon and Modha, 2001) over the rows of all ranks: `clusters` directions,
/// float64 [K,D] of length 1, the same on every rank; a row belongs to the one with the largest
/// cosine. x_ND [N,D] and order_N [N] are this rank's rows, and for each a number in [0, 1) that
/// says which come first as a beginning: where these follow from the rows' places in the batch of
/// all ranks, the result does not depend on how the rows are divided, but for rounding. Rows of
/// zeros are left out; a direction without rows stays where it began. All ranks call it. Error: the
/// ranks have fewer rows than `clusters`.
torch::Tensor spherical_kmeans(const torch::Tensor& x_ND, const torch::Tensor& order_N,
                               int64_t clusters, Communicator& ranks);

}  // namespace evomoe
