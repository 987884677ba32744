#pragma once

#include <memory>
#include <vector>

namespace evomoe {

class OptionTable;
class UpdateRule;

/// --optimizer adam, with fairseq's defaults.
struct AdamOptions {
  static constexpr const char* kMethod = "adam";

  std::vector<double> betas = {0.9, 0.999};  ///< always two
  double eps = 1e-8;

  void describe(OptionTable& table);
  std::unique_ptr<const UpdateRule> make_rule() const;

  bool operator==(const AdamOptions&) const = default;
};

}  // namespace evomoe
