#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

#include "evomoe/base/log.h"
#include "evomoe/config/describe.h"

namespace evomoe {

/// Fills `options` from the command line. False when only help was asked for (it is printed then).
/// `bind` describes the options.
template <typename Options, typename Bind>
bool parse_command(const std::string& command, const std::vector<std::string>& arguments,
                   Options& options, Bind bind) {
  OptionTable table(command, command_summary(command));
  bind(table, options);
  if (!table.parse(arguments)) {
    fmt::print("{}", table.help_text());
    return false;
  }
  for (const auto& notice : table.notices()) log().info("{}", notice);
  return true;
}

}  // namespace evomoe
