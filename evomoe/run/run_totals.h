#pragma once

#include "evomoe/checkpoint/run_state.h"
#include "evomoe/report/log_line.h"

namespace evomoe {

/// What a run took so far, that of the processes before this one included.
class RunTotals {
 public:
  /// Those of the processes before this one.
  void restore(const ProgressRecord& progress);
  /// All but the meters.
  ProgressRecord record() const;
  /// Time counts from now on.
  void start();
  /// An update.
  void add(double flops, double tokens);

  double seconds() const { return earlier_seconds_ + own_seconds(); }
  double own_seconds() const;  ///< of this process
  double flops() const { return flops_; }
  double tokens() const { return tokens_; }
  /// Adds elapsed, flops and train_tokens to a line.
  void write(LogLine& line) const;

 private:
  double earlier_seconds_ = 0;
  double started_ = 0;  ///< 0: not yet
  double flops_ = 0, tokens_ = 0;
};

}  // namespace evomoe
