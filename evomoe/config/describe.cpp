#include "evomoe/config/describe.h"

namespace evomoe {

std::string options_markdown(const std::vector<std::shared_ptr<const OptionTable>>& tables) {
  std::string text =
      "# Options\n\n"
      "Generated from the option table (`options_markdown()` in evomoe/config/describe.h); do not "
      "edit by hand.\n\n"
      "Options may be given as `--name value` (`_` for `-` works too), as `group.name=value`, or "
      "in a YAML file named by\n"
      "`--config` (or `--config-dir DIR --config-name NAME`: DIR/NAME.yaml), flat or in groups. "
      "The command line wins over `group.name=value`, that over "
      "files, and a later file over an\n"
      "earlier one.\n";
  for (const auto& table : tables) text += "\n" + table->markdown();
  return text;
}

}  // namespace evomoe
