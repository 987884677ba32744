#pragma once

#include <string_view>

namespace evomoe {

std::string_view machines_yaml();

}  // namespace evomoe
