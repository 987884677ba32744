#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <utility>
#include <vector>

namespace evomoe {

/// NumPy's legacy generator (`numpy.random.seed(s)` and friends: MT19937), number for number.
/// Orders of data drawn with it are those of fairseq, so that a run can be compared batch by batch.
class NumpyRandom {
 public:
  /// `seed` as given to numpy.random.seed: 0 <= seed < 2^32, else an Error.
  explicit NumpyRandom(int64_t seed);

  /// As fairseq seeds numpy for an item of an epoch: CPython's hash of the tuple (seed, epoch,
  /// item), modulo 1e6.
  static NumpyRandom of_item(int64_t seed, int64_t epoch, int64_t item);

  uint32_t next_uint32() { return generator_(); }

  /// Uniform in [0, 1) with 53 bits: numpy.random.rand().
  double rand();

  /// Uniform in [0, max], both ends included, by masked rejection.
  uint64_t interval(uint64_t max);

  /// numpy.random.shuffle of a list.
  template <typename T>
  void shuffle(std::vector<T>& values) {
    for (size_t i = values.size(); i-- > 1;) std::swap(values[i], values[interval(i)]);
  }

  /// numpy.random.permutation(n).
  std::vector<int64_t> permutation(int64_t n);

  /// numpy.random.choice(n, k, replace=False): k different numbers below n.
  std::vector<int64_t> choice_without_replacement(int64_t n, int64_t k);

  /// One of numpy.random.choice(len(weights), k, p=weights / sum(weights)), with replacement;
  /// `cumulative` are their cumulative_weights().
  int64_t choose(const std::vector<double>& cumulative);

  /// numpy.random.normal(mean, deviation), by the polar method.
  double normal(double mean, double deviation);

 private:
  std::mt19937 generator_;
  std::optional<double> second_normal_;  ///< the polar method makes two at a time
};

/// The running sums of weights / sum(weights), the last one 1.
std::vector<double> cumulative_weights(const std::vector<double>& weights);

/// `int(hash((a, b, c)) % 1e6)` of CPython 3.8 and later.
int64_t python_tuple_hash_modulo_million(int64_t a, int64_t b, int64_t c);

}  // namespace evomoe
