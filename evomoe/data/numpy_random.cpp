#include "evomoe/data/numpy_random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

uint32_t checked_seed(int64_t seed) {
  EVOMOE_CHECK(seed >= 0 && seed <= int64_t{0xFFFFFFFF},
               "seed {} of the data order is outside 0 .. 4294967295; choose another --seed", seed);
  return static_cast<uint32_t>(seed);
}

}  // namespace

NumpyRandom::NumpyRandom(int64_t seed) : generator_(checked_seed(seed)) {}

double NumpyRandom::rand() {
  const uint32_t high = next_uint32() >> 5;
  const uint32_t low = next_uint32() >> 6;
  return (high * 67108864.0 + low) / 9007199254740992.0;
}

double NumpyRandom::standard_normal() {
  if (second_normal_) return *std::exchange(second_normal_, std::nullopt);
  double x = 0, y = 0, square = 0;
  do {
    x = 2 * rand() - 1;
    y = 2 * rand() - 1;
    square = x * x + y * y;
  } while (square >= 1 || square == 0);
  const double scale = std::sqrt(-2 * std::log(square) / square);
  second_normal_ = scale * x;
  return scale * y;
}

uint64_t NumpyRandom::interval(uint64_t max) {
  if (max == 0) return 0;  // draws nothing
  const uint64_t mask = ~uint64_t{0} >> std::countl_zero(max);
  while (true) {
    uint64_t value = next_uint32();
    if (max > 0xFFFFFFFF) value = (value << 32) | next_uint32();
    if ((value & mask) <= max) return value & mask;
  }
}

std::vector<int64_t> NumpyRandom::permutation(int64_t n) {
  std::vector<int64_t> values(n);
  std::iota(values.begin(), values.end(), 0);
  shuffle(values);
  return values;
}

std::vector<int64_t> NumpyRandom::choice_without_replacement(int64_t n, int64_t k) {
  EVOMOE_CHECK(k >= 0 && k <= n, "cannot choose {} different numbers out of {}", k, n);
  auto values = permutation(n);
  values.resize(k);
  return values;
}

std::vector<int64_t> NumpyRandom::choice_weighted(const std::vector<double>& weights, int64_t k) {
  // numpy is given p = weights / sum and divides the running sums of p by the last one once more.
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  EVOMOE_CHECK(total > 0, "the weights of a weighted choice sum to {}; they must be positive",
               total);
  std::vector<double> cumulative;
  double sum = 0;
  for (const double weight : weights) cumulative.push_back(sum += weight / total);
  for (double& value : cumulative) value /= sum;
  std::vector<int64_t> chosen(k);
  for (int64_t& index : chosen) {
    index = std::upper_bound(cumulative.begin(), cumulative.end(), rand()) - cumulative.begin();
  }
  return chosen;
}

}  // namespace evomoe
