#pragma once

#include <string>

namespace evomoe {

/// The content of docs/migration.md: what becomes of each flag of the reference.
std::string migration_markdown();

}  // namespace evomoe
