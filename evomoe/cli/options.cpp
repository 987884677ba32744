#include <fmt/format.h>

#include "evomoe/base/error.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/config/describe.h"

namespace evomoe {

int options_command(const std::vector<std::string>& arguments) {
  if (!arguments.empty() && arguments[0] != "--markdown" && arguments[0] != "--help") {
    fail_usage("evomoe options {}: the only option is --markdown", arguments[0]);
  }
  fmt::print("{}", options_markdown());
  return 0;
}

}  // namespace evomoe
