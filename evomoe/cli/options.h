#pragma once

#include <optional>
#include <string>

namespace evomoe {

class OptionTable;

/// `evomoe options`.
struct OptionsFlags {
  bool markdown = false, migration = false;
  std::optional<std::string> man;         ///< the page: evomoe, or a command
  std::optional<std::string> completion;  ///< bash | zsh
  std::optional<std::string> destdir;

  void describe(OptionTable& table);
};

}  // namespace evomoe
