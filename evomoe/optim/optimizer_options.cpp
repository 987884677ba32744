#include "evomoe/optim/optimizer_options.h"

#include <fmt/ranges.h>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/optim/update_rule.h"

namespace evomoe {
namespace {

/// An optimiser: its name, and what its options say and make.
struct Method {
  std::string name;
  void (*describe)(OptionSet&, OptionTable&);
  std::unique_ptr<const UpdateRule> (*make_rule)(const OptionSet&);
};

template <typename Options>
Method method() {
  return {Options::kMethod,
          [](OptionSet& set, OptionTable& table) { set.get<Options>().describe(table); },
          [](const OptionSet& set) { return set.get<Options>().make_rule(); }};
}

/// One line per optimiser, which is its two files and its options.
const std::vector<Method>& registry_of_optimizers() {
  static const std::vector<Method> methods = {
      method<AdamOptions>(),
      method<AdafactorOptions>(),
      method<MuonOptions>(),
  };
  return methods;
}

}  // namespace

std::vector<std::string> optimizer_names() {
  std::vector<std::string> names;
  for (const auto& method : registry_of_optimizers()) names.push_back(method.name);
  return names;
}

void OptimizerOptions::describe(OptionTable& table) {
  table.group("optimization", "Optimisation");
  table
      .add("optimizer", &optimizer, "Optimiser (docs/optimizers.md); cpu_adam is the same as adam.")
      .choices(optimizer_names())
      .synonyms({{"cpu_adam", "adam"}})
      .unsupported({"adadelta", "adagrad", "adamax", "composite", "lamb", "nag", "sgd"},
                   fmt::format("use one of {} and an --lr that suits it",
                               fmt::join(optimizer_names(), ", ")));
  for (const auto& method : registry_of_optimizers()) method.describe(methods, table);
  table.add("weight-decay", &weight_decay, "Decoupled weight decay.").alias("wd").at_least(0);
  table
      .add("lr-factor", &lr_factor,
           "Factors of the learning rate by what a parameter is, e.g. router=2,expert=0.5. Kinds: "
           "expert, router, embedding, head, norm, bias, matrix (docs/optimizers.md).")
      .metavar("KIND=X,...");
  table
      .add("freeze", &freeze,
           "What is not trained, by what a parameter is (the kinds of --lr-factor): it needs no "
           "memory for gradients and the optimiser's state, e.g. embedding,head,norm,bias,matrix "
           "to train experts and routers alone.")
      .metavar("KIND,...");
}

std::set<ParameterKind> OptimizerOptions::frozen() const {
  std::set<ParameterKind> kinds;
  for (const auto& name : freeze) {
    const auto kind = parse_parameter_kind(name);
    if (!kind) {
      fail_usage("--freeze {}: there is no kind of parameter '{}'; known: {}",
                 fmt::join(freeze, ","), name, fmt::join(parameter_kind_names(), ", "));
    }
    kinds.insert(*kind);
  }
  if (kinds.size() == parameter_kind_names().size())
    fail_usage("--freeze {}: nothing is left to train", fmt::join(freeze, ","));
  return kinds;
}

std::unique_ptr<const UpdateRule> OptimizerOptions::make_rule() const {
  for (const auto& method : registry_of_optimizers()) {
    if (method.name == optimizer) return method.make_rule(methods);
  }
  fail_usage("--optimizer '{}' is unknown; known: {}", optimizer,
             fmt::join(optimizer_names(), ", "));
}

}  // namespace evomoe
