#pragma once

#include <pybind11/pybind11.h>

#include <nlohmann/json.hpp>

namespace evomoe::python {

/// None, bool, int, float, str, and lists and dicts of these. TypeError for anything else.
nlohmann::json to_json(pybind11::handle value);

pybind11::object to_python(const nlohmann::json& value);

}  // namespace evomoe::python
