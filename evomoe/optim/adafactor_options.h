#pragma once

#include <memory>
#include <optional>
#include <vector>

namespace evomoe {

class OptionTable;
class UpdateRule;

/// --optimizer adafactor, with fairseq's flags and defaults.
struct AdafactorOptions {
  static constexpr const char* kMethod = "adafactor";

  /// Always two: added to squared gradients, and the least scale of a parameter.
  std::vector<double> adafactor_eps = {1e-30, 1e-3};
  double clip_threshold = 1.0;
  double decay_rate = -0.8;
  std::optional<double> beta1;   ///< not given: no first moment
  bool scale_parameter = false;  ///< the rate is multiplied by the parameter's root mean square
  bool relative_step = false;    ///< the rate follows from the step; --lr is not used
  bool warmup_init = false;

  void describe(OptionTable& table);
  std::unique_ptr<const UpdateRule> make_rule() const;

  bool operator==(const AdafactorOptions&) const = default;
};

}  // namespace evomoe
