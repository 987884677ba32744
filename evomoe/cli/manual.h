#pragma once

#include <memory>
#include <string>
#include <vector>

#include "evomoe/config/option_table.h"

namespace evomoe {

/// The page evomoe(1) in man's troff: all commands.
std::string program_manual(const std::string& version);

/// The page evomoe-COMMAND(1): the options of `tables`, which are the command's, or those of its
/// parts.
std::string command_manual(const std::string& command,
                           const std::vector<std::shared_ptr<const OptionTable>>& tables,
                           const std::string& version);

}  // namespace evomoe
