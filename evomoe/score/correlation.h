#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

/// How well answers go with the truth, from -1 to 1. Each is 0 where it is not defined: when the
/// truth or the answers are all the same.
namespace evomoe {

/// Matthews', of rows of [true class][predicted class].
double matthews_correlation(const std::array<std::array<int64_t, 2>, 2>& counts);

/// Pearson's, of pairs of numbers.
double pearson_correlation(const std::vector<std::pair<float, float>>& pairs);

/// Spearman's: Pearson's of their ranks; equal numbers share the mean of their ranks.
double spearman_correlation(const std::vector<std::pair<float, float>>& pairs);

}  // namespace evomoe
