#pragma once

#include <string>

namespace evomoe {

/// The --task that a command means which names an architecture only: language_modeling and
/// masked_lm for the models made for them, else fairseq's default, translation.
std::string task_of_architecture(const std::string& arch);

}  // namespace evomoe
