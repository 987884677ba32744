#pragma once

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "evomoe/optim/adafactor_options.h"
#include "evomoe/optim/adam_options.h"
#include "evomoe/optim/muon_options.h"

namespace evomoe {

/// The registry: an optimiser is its two files, its options and its line here.
using OptimizerMethods = std::tuple<  //
    AdamOptions,                      //
    AdafactorOptions,                 //
    MuonOptions>;

/// --optimizer, what all optimisers have, and the options of each.
struct OptimizerOptions {
  std::string optimizer = AdamOptions::kMethod;
  OptimizerMethods methods;
  double weight_decay = 0.0;
  std::vector<std::string> lr_factor;  ///< "kind=factor" (lr_factors.h)

  template <typename Options>
  const Options& of() const {
    return std::get<Options>(methods);
  }
  template <typename Options>
  Options& of() {
    return std::get<Options>(methods);
  }

  void describe(OptionTable& table);
  /// The rule of `optimizer`. Throws UsageError for an unknown name and for what its method
  /// refuses.
  std::unique_ptr<const UpdateRule> make_rule() const;
};

/// adam, adafactor, muon.
std::vector<std::string> optimizer_names();

}  // namespace evomoe
