#include "evomoe/fairseq/pickle_value.h"

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

std::optional<double> number_of(const PickleValue* value) {
  if (value == nullptr) return std::nullopt;
  if (const auto* flag = value->get_if<bool>()) return *flag ? 1 : 0;
  if (const auto* integer = value->get_if<int64_t>()) return static_cast<double>(*integer);
  if (const auto* real = value->get_if<double>()) return *real;
  const auto* tensor = value->get_if<torch::Tensor>();
  if (tensor == nullptr || tensor->numel() != 1) return std::nullopt;
  return tensor->to(torch::kFloat64).item<double>();
}

}  // namespace evomoe
