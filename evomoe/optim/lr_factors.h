#pragma once

#include <map>
#include <string>
#include <vector>

#include "evomoe/base/parameter_kind.h"

namespace evomoe {

/// Factors of the learning rate by kind of parameter, 1 where none is given.
class LrFactors {
 public:
  LrFactors() = default;
  /// Each "kind=factor", e.g. "router=2" (--lr-factor). UsageError: another form, an unknown kind
  /// (it lists the known ones), a kind that comes twice, a factor that is negative or not finite.
  explicit LrFactors(const std::vector<std::string>& given);

  double of(ParameterKind kind) const;
  const std::map<ParameterKind, double>& given() const { return given_; }

 private:
  std::map<ParameterKind, double> given_;
};

}  // namespace evomoe
