#pragma once

#include <string_view>

/// The files of this folder that the program holds: the build makes a source of each
/// (evomoe_embed() in cmake/rooms.cmake).
namespace evomoe {

std::string_view legacy_flags_yaml();
std::string_view migration_md();

}  // namespace evomoe
