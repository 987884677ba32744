#pragma once

#include <string>

#include "evomoe/routing/router.h"

namespace evomoe {

class OptionTable;

struct HashOptions {
  std::string kind = "random";  ///< random | balanced
  int64_t seed = 42;            ///< of `random`; layers add their number
  std::string counts;           ///< of `balanced`: a dict.txt with the words' counts

  void describe(OptionTable& table);
  /// UsageError: `balanced` without counts, counts without it.
  void validate() const;
};

/// The expert of each word, int64 [V]: splitmix64(seed << 32 ^ id) mod E.
torch::Tensor random_hash(int64_t vocab_size, int64_t num_experts, int64_t seed);
/// The expert of each word, int64 [V]: words by falling count (ties: lower id) each go to the
/// expert that has the fewest occurrences so far (ties: lower expert).
torch::Tensor balanced_hash(const std::vector<int64_t>& count_V, int64_t num_experts);

/// Hash layers (arXiv 2106.04426): each word of the dictionary has a fixed expert, with weight 1.
/// The table is stored in checkpoints. No gate, no loss; dropless. Reads the input's token ids.
class HashRouter : public Router {
 public:
  /// UsageError: a negative seed or one of more than 32 bits.
  HashRouter(RouterShape shape, HashOptions options);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  /// Makes the table. Error: counts that cannot be read, or are of more words than there are.
  void initialise(uint64_t seed, int64_t layer) override;
  int64_t most_experts_per_token() const override { return 1; }
  std::string cannot_grow() const override { return "its table names the expert of each word"; }

 private:
  HashOptions options_;
  torch::Tensor table_V_;
};

}  // namespace evomoe
