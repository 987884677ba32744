#pragma once

#include <string>
#include <vector>

namespace evomoe {

/// The candidate that `name` was probably meant to be: one that it begins, or the one with the
/// fewest wrong, missing, surplus or swapped letters. Empty when nothing is near.
std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates);

}  // namespace evomoe
