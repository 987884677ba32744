#include "evomoe/config/given_options.h"

#include "evomoe/config/describe.h"

namespace evomoe {

void for_each_given(TrainOptions options,
                    const std::function<void(const OptionTable&, const Option&)>& visit) {
  TrainOptions plain;
  OptionTable defaults("train", ""), table("train", "");
  describe(defaults, plain);
  describe(table, options);
  for (const auto& option : table.options()) {
    if (option->value() != defaults.at(option->name()).value()) visit(table, *option);
  }
}

}  // namespace evomoe
