#pragma once

#include <memory>
#include <string>
#include <vector>

#include "evomoe/config/option_table.h"

namespace evomoe {

/// The content of docs/migration.md: what becomes of each flag of the reference. `tables`: of all
/// commands.
std::string migration_markdown(const std::vector<std::shared_ptr<const OptionTable>>& tables);

}  // namespace evomoe
