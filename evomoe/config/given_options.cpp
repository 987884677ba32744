#include "evomoe/config/given_options.h"

namespace evomoe {

void visit_given(const OptionTable& table, const OptionTable& defaults,
                 const OptionVisitor& visit) {
  for (const auto& option : table.options()) {
    if (option->value() != defaults.at(option->name()).value()) visit(table, *option);
  }
}

}  // namespace evomoe
