#pragma once

#include <memory>
#include <vector>

#include "evomoe/config/option_table.h"

namespace evomoe {

/// The tables of all commands but bench, which has one for each benchmark; in the order of the
/// help.
std::vector<std::shared_ptr<const OptionTable>> command_tables();

}  // namespace evomoe
