#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace evomoe {

class OptionTable;
class UpdateRule;

/// --optimizer muon.
struct MuonOptions {
  static constexpr const char* kMethod = "muon";

  double momentum = 0.95;
  std::string scale = "moonlight";  ///< moonlight | original
  int64_t steps = 5;                ///< of Newton-Schulz
  // Of the parameters that Adam updates.
  std::vector<double> adam_betas = {0.9, 0.95};  ///< always two
  double adam_eps = 1e-10;
  double adam_lr_factor = 1.0;

  void describe(OptionTable& table);
  std::unique_ptr<const UpdateRule> make_rule() const;

  bool operator==(const MuonOptions&) const = default;
};

}  // namespace evomoe
