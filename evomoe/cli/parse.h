#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

#include "evomoe/base/log.h"
#include "evomoe/cli/command_list.h"
#include "evomoe/config/option_table.h"

namespace evomoe {

/// Fills the options that `table` describes from the command line, and says nothing of flags
/// without effect (tell_notices). False when only help was asked for (it is printed then).
inline bool parse_quietly(OptionTable& table, const std::vector<std::string>& arguments) {
  if (table.parse(arguments)) return true;
  fmt::print("{}", table.help_text());
  return false;
}

inline void tell_notices(const OptionTable& table) {
  for (const auto& notice : table.notices()) log().info("{}", notice);
}

/// Fills the options that `table` describes from the command line. False when only help was asked
/// for (it is printed then).
inline bool parse_command(OptionTable& table, const std::vector<std::string>& arguments) {
  if (!parse_quietly(table, arguments)) return false;
  tell_notices(table);
  return true;
}

/// Fills `options` from the command line. False when only help was asked for (it is printed then).
template <typename Options>
bool parse_command(const std::string& command, const std::vector<std::string>& arguments,
                   Options& options) {
  OptionTable table(command, command_summary(command));
  options.describe(table);
  return parse_command(table, arguments);
}

}  // namespace evomoe
