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

std::vector<double> cumulative_weights(const std::vector<double>& weights) {
  // numpy is given p = weights / sum and divides the running sums of p by the last one once more.
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  EVOMOE_CHECK(total > 0, "the weights of a weighted choice sum to {}; they must be positive",
               total);
  std::vector<double> cumulative;
  cumulative.reserve(weights.size());
  double sum = 0;
  for (const double weight : weights) cumulative.push_back(sum += weight / total);
  for (double& value : cumulative) value /= sum;
  return cumulative;
}

int64_t NumpyRandom::choose(const std::vector<double>& cumulative) {
  return std::upper_bound(cumulative.begin(), cumulative.end(), rand()) - cumulative.begin();
}

double NumpyRandom::normal(double mean, double deviation) {
  if (second_normal_) {
    const double value = *second_normal_;
    second_normal_.reset();
    return mean + deviation * value;
  }
  double x = 0;
  double y = 0;
  double square = 0;
  do {
    x = 2.0 * rand() - 1.0;
    y = 2.0 * rand() - 1.0;
    square = x * x + y * y;
  } while (square >= 1.0 || square == 0.0);
  const double factor = std::sqrt(-2.0 * std::log(square) / square);
  second_normal_ = factor * x;
  return mean + deviation * (factor * y);
}

int64_t python_tuple_hash_modulo_million(int64_t a, int64_t b, int64_t c) {
  constexpr uint64_t kPrime1 = 11400714785074694791u;
  constexpr uint64_t kPrime2 = 14029467366897019727u;
  constexpr uint64_t kPrime5 = 2870177450012600261u;
  constexpr int64_t kModulus = (int64_t{1} << 61) - 1;  // of an integer's own hash
  uint64_t sum = kPrime5;
  for (const int64_t value : {a, b, c}) {
    int64_t hash = value % kModulus;  // keeps the sign, as CPython does
    if (hash == -1) hash = -2;        // -1 is CPython's sign of an error
    sum += static_cast<uint64_t>(hash) * kPrime2;
    sum = std::rotl(sum, 31) * kPrime1;
  }
  sum += 3 ^ (kPrime5 ^ 3527539u);
  if (sum == ~uint64_t{0}) sum = 1546275796;
  // Python turns the hash into a double before it takes the remainder, which rounds it.
  const double remainder = std::fmod(static_cast<double>(static_cast<int64_t>(sum)), 1e6);
  return static_cast<int64_t>(remainder < 0 ? remainder + 1e6 : remainder);
}

NumpyRandom NumpyRandom::of_item(int64_t seed, int64_t epoch, int64_t item) {
  return NumpyRandom(python_tuple_hash_modulo_million(seed, epoch, item));
}

}  // namespace evomoe
