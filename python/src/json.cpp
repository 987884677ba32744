#include "json.h"

#include <string>

namespace evomoe::python {

namespace py = pybind11;

nlohmann::json to_json(py::handle value) {
  if (value.is_none()) return nullptr;
  if (py::isinstance<py::bool_>(value)) return value.cast<bool>();
  if (py::isinstance<py::int_>(value)) return value.cast<int64_t>();
  if (py::isinstance<py::float_>(value)) return value.cast<double>();
  if (py::isinstance<py::str>(value)) return value.cast<std::string>();
  if (py::isinstance<py::list>(value) || py::isinstance<py::tuple>(value)) {
    auto list = nlohmann::json::array();
    for (const auto element : value) list.push_back(to_json(element));
    return list;
  }
  if (py::isinstance<py::dict>(value)) {
    auto object = nlohmann::json::object();
    for (const auto item : value.cast<py::dict>())
      object[item.first.cast<std::string>()] = to_json(item.second);
    return object;
  }
  throw py::type_error("expected None, bool, int, float, str, list or dict, not " +
                       std::string(py::str(py::type::handle_of(value).attr("__name__"))));
}

py::object to_python(const nlohmann::json& value) {
  if (value.is_boolean()) return py::bool_(value.get<bool>());
  if (value.is_number_unsigned()) return py::int_(value.get<uint64_t>());
  if (value.is_number_integer()) return py::int_(value.get<int64_t>());
  if (value.is_number()) return py::float_(value.get<double>());
  if (value.is_string()) return py::str(value.get<std::string>());
  if (value.is_array()) {
    py::list list;
    for (const auto& element : value) list.append(to_python(element));
    return list;
  }
  if (value.is_object()) {
    py::dict dict;
    for (auto item = value.begin(); item != value.end(); ++item)
      dict[py::str(item.key())] = to_python(item.value());
    return dict;
  }
  return py::none();
}

}  // namespace evomoe::python
