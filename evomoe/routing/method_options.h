#pragma once

#include <string>
#include <vector>

namespace evomoe {

/// The names of the options that the method of this name uses, in the order in which its structs
/// describe them. UsageError: an unknown method.
std::vector<std::string> options_of_method(const std::string& method);

}  // namespace evomoe
