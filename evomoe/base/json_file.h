#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>

#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"
#include "evomoe/base/mapped_file.h"
#include "evomoe/base/write_file.h"

namespace evomoe {

/// The JSON object in a file. Error, which names the file: it cannot be read, or is no JSON object.
/// `repeated_key`: see parse_json.
template <typename Json = nlohmann::json>
Json read_json_file(const std::filesystem::path& path, std::string* repeated_key = nullptr) {
  const MappedFile file(path);
  auto object = parse_json<Json>(file.bytes(), repeated_key);
  EVOMOE_CHECK(object.is_object(), "{}: is not a JSON object ({}); copy it again, or make it again",
               path.string(),
               object.is_discarded() ? json_problem(file.bytes()).reason
                                     : fmt::format("its type is {}", object.type_name()));
  return object;
}

/// Writes an object as write_file does, whole or not at all. Bytes that are no UTF-8 become U+FFFD.
template <typename Json>
void write_json_file(const std::filesystem::path& path, const Json& object) {
  write_file(path, [&](std::ostream& stream) { stream << json_text(object, 2) << "\n"; });
}

}  // namespace evomoe
