#include "evomoe/checkpoint/pickle_value.h"

#include <fmt/format.h>

namespace evomoe {
namespace {

struct KindName {
  std::string operator()(std::monostate) const { return "None"; }
  std::string operator()(bool) const { return "a bool"; }
  std::string operator()(int64_t) const { return "an integer"; }
  std::string operator()(double) const { return "a number"; }
  std::string operator()(const std::string&) const { return "a string"; }
  std::string operator()(const PickleValue::List&) const { return "a list"; }
  std::string operator()(const PickleValue::Dict&) const { return "a dict"; }
  std::string operator()(const torch::Tensor& tensor) const {
    if (!tensor.defined()) return "a tensor";
    return fmt::format("a tensor of {}", c10::toString(tensor.scalar_type()));
  }
  std::string operator()(const OpaqueValue& opaque) const {
    const bool is_class = opaque.type.find(' ') == std::string::npos;
    return (is_class ? "a value of the class " : "") + opaque.type;
  }
};

}  // namespace

std::string kind_of(const PickleValue& value) { return std::visit(KindName(), value.value); }

}  // namespace evomoe
