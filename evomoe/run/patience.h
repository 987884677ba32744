#pragma once

#include "evomoe/checkpoint/run_state.h"
#include "evomoe/train/options.h"

namespace evomoe {

/// --patience: how many validations in a row may bring nothing better.
class Patience {
 public:
  explicit Patience(const CheckpointOptions& options);

  /// Counts a validation. True, and a line in the log, when it was the last that may be no better.
  bool ends_with(double metric);
  /// Whether it was used up before.
  bool is_used_up() const { return most_ > 0 && record_.used >= most_; }

  /// What another metric is patient about says nothing of this one, and is left out.
  void restore(const PatienceRecord& record);
  PatienceRecord record() const { return record_; }

 private:
  int64_t most_;  ///< <= 0: without end
  bool maximize_;
  PatienceRecord record_;
};

}  // namespace evomoe
