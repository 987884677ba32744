#pragma once

#include <memory>
#include <string>
#include <vector>

#include "evomoe/config/option_table.h"

namespace evomoe {

/// Scripts that complete command lines of `evomoe`: commands, options, the values of those that
/// have a choice, files and folders. `tables`: of all commands; that of a part of a command has two
/// words for its command (`bench layer`).
std::string bash_completion(const std::vector<std::shared_ptr<const OptionTable>>& tables);
std::string zsh_completion(const std::vector<std::shared_ptr<const OptionTable>>& tables);

}  // namespace evomoe
