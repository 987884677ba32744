#include <fmt/format.h>

#include "evomoe/base/error.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/config/describe.h"
#include "evomoe/config/migration.h"

namespace evomoe {

int options_command(const std::vector<std::string>& arguments) {
  if (!arguments.empty() && (arguments[0] == "--help" || arguments[0] == "-h")) {
    fmt::print("usage: evomoe options [--markdown | --migration]\n\nevomoe options {}.\n",
               command_summary("options"));
    return 0;
  }
  if (!arguments.empty() && arguments[0] == "--migration") {
    fmt::print("{}", migration_markdown());
    return 0;
  }
  if (!arguments.empty() && arguments[0] != "--markdown") {
    fail_usage("evomoe options {}: the options are --markdown and --migration", arguments[0]);
  }
  fmt::print("{}", options_markdown());
  return 0;
}

}  // namespace evomoe
