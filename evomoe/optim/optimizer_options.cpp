#include "evomoe/optim/optimizer_options.h"

#include <fmt/ranges.h>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/optim/update_rule.h"

namespace evomoe {
namespace {

/// Calls visit(options) for each method.
template <typename Methods, typename Visit>
void for_each_method(Methods& methods, Visit visit) {
  std::apply([&](auto&... options) { (visit(options), ...); }, methods);
}

}  // namespace

std::vector<std::string> optimizer_names() {
  std::vector<std::string> names;
  const OptimizerMethods methods;
  for_each_method(methods, [&](const auto& options) { names.emplace_back(options.kMethod); });
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
  for_each_method(methods, [&](auto& options) { options.describe(table); });
  table.add("weight-decay", &weight_decay, "Decoupled weight decay.").alias("wd").at_least(0);
  table
      .add("lr-factor", &lr_factor,
           "Factors of the learning rate by what a parameter is, e.g. router=2,expert=0.5. Kinds: "
           "expert, router, embedding, head, norm, bias, matrix (docs/optimizers.md).")
      .metavar("KIND=X,...");
}

std::unique_ptr<const UpdateRule> OptimizerOptions::make_rule() const {
  std::unique_ptr<const UpdateRule> rule;
  for_each_method(methods, [&](const auto& options) {
    if (optimizer == options.kMethod) rule = options.make_rule();
  });
  if (!rule) {
    fail_usage("--optimizer '{}' is unknown; known: {}", optimizer,
               fmt::join(optimizer_names(), ", "));
  }
  return rule;
}

}  // namespace evomoe
