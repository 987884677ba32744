#include "evomoe/data/python_hash.h"

#include <cmath>

namespace evomoe {
namespace {

constexpr uint64_t kPrime1 = 11400714785074694791ULL, kPrime2 = 14029467366897019727ULL,
                   kPrime5 = 2870177450012600261ULL;

/// CPython's tuplehash (Objects/tupleobject.c); the hash of an integer below 2^61 - 1 is itself,
/// but that of -1 is -2.
int64_t tuple_hash(std::span<const int64_t> values) {
  uint64_t sum = kPrime5;
  for (const auto value : values) {
    const auto lane = static_cast<uint64_t>(value == -1 ? -2 : value);
    sum += lane * kPrime2;
    sum = (sum << 31) | (sum >> 33);
    sum *= kPrime1;
  }
  sum += values.size() ^ (kPrime5 ^ 3527539ULL);
  return sum == ~uint64_t{0} ? 1546275796 : static_cast<int64_t>(sum);
}

}  // namespace

int64_t python_item_seed(std::span<const int64_t> values) {
  constexpr double kModulus = 1e6;
  // Python's float modulo has the sign of the divisor.
  auto remainder = std::fmod(static_cast<double>(tuple_hash(values)), kModulus);
  if (remainder < 0) remainder += kModulus;
  return static_cast<int64_t>(remainder);
}

}  // namespace evomoe
