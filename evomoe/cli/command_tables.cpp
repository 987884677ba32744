#include "evomoe/cli/command_tables.h"

#include <algorithm>

#include "evomoe/config/describe.h"
#include "evomoe/train/options.h"

namespace evomoe {

std::vector<std::shared_ptr<const OptionTable>> command_tables() {
  auto tables = other_command_tables();
  const auto after = std::ranges::find(
      tables, "preprocess", [](const auto& table) { return table->command(); });
  tables.insert(std::next(after),
                make_table<TrainOptions>("train", command_summary("train"),
                                         [](OptionTable& table, TrainOptions& options) {
                                           describe(table, options);
                                         }));
  return tables;
}

}  // namespace evomoe
