#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace evomoe {

class OptionTable;

/// What is read, in which batches, and when it is validated.
struct DatasetOptions {
  std::optional<int64_t> max_tokens;        ///< tokens of a micro-batch
  std::optional<int64_t> batch_size;        ///< sequences of a micro-batch
  std::optional<int64_t> max_tokens_valid;  ///< not given: max_tokens
  std::optional<int64_t> batch_size_valid;  ///< not given: batch_size
  int64_t required_batch_size_multiple = 8;
  int64_t num_workers = 1;
  int64_t curriculum = 0;  ///< epochs without shuffling
  std::string train_subset = "train";
  std::vector<std::string> valid_subset = {"valid"};
  bool combine_valid_subsets = false;
  bool ignore_unused_valid_subsets = false;
  int64_t validate_interval = 1;          ///< epochs
  int64_t validate_interval_updates = 0;  ///< 0: only at epoch ends
  int64_t validate_after_updates = 0;
  std::optional<int64_t> max_valid_steps;
  bool disable_validation = false;
  bool skip_invalid_size_inputs_valid_test = false;

  void describe(OptionTable& table);
};

}  // namespace evomoe
