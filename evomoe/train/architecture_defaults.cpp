#include "evomoe/train/architecture_defaults.h"

#include <algorithm>
#include <set>
#include <string>

#include "evomoe/config/option_table.h"
#include "evomoe/routing/registry.h"
#include "evomoe/train/model_family.h"
#include "evomoe/train/options.h"

namespace evomoe {

void follow_architecture(OptionTable& table, const TrainOptions& options) {
  std::set<std::string> names;
  for (const auto& family : families()) {
    for (const auto& architecture : family->declaration().architectures) {
      for (const auto& [name, value] : architecture.moe) names.insert(name);
    }
  }
  const auto of_methods = router_option_names();
  for (const auto& option : table.options()) {
    const auto name = option->name();
    if (!names.contains(name)) continue;
    const bool of_method = of_methods.contains(name), first = name == "moe-freq";
    const auto rule = [&options, name, of_method, first, otherwise = option->default_value()] {
      const auto& values = find_architecture(options.model.arch).moe;
      const bool own_method = std::any_of(values.begin(), values.end(), [&](const auto& each) {
        return each.first == "moe-router" &&
               each.second.template get<std::string>() == options.moe.moe_router;
      });
      if ((of_method && !own_method) || (!first && options.moe.moe_freq == 0)) return otherwise;
      for (const auto& [of, value] : values) {
        if (of == name) return value;
      }
      return otherwise;
    };
    option->default_from(rule);
  }
}

}  // namespace evomoe
