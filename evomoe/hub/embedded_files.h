#pragma once

#include <string_view>

/// The Python modules that the program writes beside a model of our own class: the build makes a
/// source of each (evomoe_embed() in cmake/rooms.cmake).
namespace evomoe {

std::string_view configuration_evomoe_py();
std::string_view modeling_evomoe_py();

}  // namespace evomoe
