#include "evomoe/base/parameter_kind.h"

namespace evomoe {

const std::vector<std::string>& parameter_kind_names() {
  // In the order of the enumeration.
  static const std::vector<std::string> names = {"expert", "router", "embedding", "head",
                                                 "norm",   "bias",   "matrix"};
  return names;
}

std::string parameter_kind_name(ParameterKind kind) {
  return parameter_kind_names().at(static_cast<size_t>(kind));
}

std::optional<ParameterKind> parse_parameter_kind(const std::string& name) {
  const auto& names = parameter_kind_names();
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return static_cast<ParameterKind>(i);
  }
  return std::nullopt;
}

}  // namespace evomoe
