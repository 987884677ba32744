#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "evomoe/base/parameter_kind.h"
#include "evomoe/config/option_set.h"
#include "evomoe/optim/adafactor_options.h"
#include "evomoe/optim/adam_options.h"
#include "evomoe/optim/muon_options.h"

namespace evomoe {

/// --optimizer, what all optimisers have, and the options of each.
struct OptimizerOptions {
  std::string optimizer = AdamOptions::kMethod;
  OptionSet methods;  ///< the options of each optimiser
  double weight_decay = 0.0;
  std::vector<std::string> lr_factor;  ///< "kind=factor" (lr_factors.h)
  /// Kinds of parameters that are not trained: they have no gradient, and no state.
  std::vector<std::string> freeze;

  template <typename Options>
  const Options& of() const {
    return methods.get<Options>();
  }
  template <typename Options>
  Options& of() {
    return methods.get<Options>();
  }

  void describe(OptionTable& table);
  /// `freeze`. UsageError: a kind that is not known, or all of them.
  std::set<ParameterKind> frozen() const;
  /// The rule of `optimizer`. Throws UsageError for an unknown name and for what its method
  /// refuses.
  std::unique_ptr<const UpdateRule> make_rule() const;
};

/// adam, adafactor, muon.
std::vector<std::string> optimizer_names();

}  // namespace evomoe
