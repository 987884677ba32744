#pragma once

#include <cstdint>
#include <string>

namespace evomoe {

/// What a run has taken until now.
struct Spent {
  double tokens = 0, flops = 0;  ///< trained on; executed
  double seconds = 0;            ///< of training, with validations and checkpoints
};

/// What a run may take (--budget UNIT=NUMBER). The run ends with the update that comes to it.
class Budget {
 public:
  /// "tokens=1e9", "flops=1e15" or "seconds=3600". UsageError: another form, an unknown unit, a
  /// number that is not finite or not above 0.
  explicit Budget(const std::string& text);

  /// The part of it that is spent; 1 and more: the run is at its end.
  double share(const Spent& spent) const { return spent.*unit_ / amount_; }
  bool is_spent(const Spent& spent) const { return spent.*unit_ >= amount_; }

  /// How many updates a run will have made at the end of its budget, if all cost as much as the
  /// `completed` ones on average: for schedules that need the length of a run. It is exact where
  /// they do, from the first update on, and at the end of the budget it is `completed` in any case.
  int64_t length(int64_t completed, const Spent& spent) const;

 private:
  double Spent::*unit_ = nullptr;
  double amount_ = 0;
};

}  // namespace evomoe
