#include "evomoe/hub/hub_activation.h"

#include <map>

namespace evomoe {

std::string read_hub_activation(HubFields& fields, const std::string& name,
                                const std::string& otherwise) {
  static const std::map<std::string, std::string> of_theirs = {
      {"silu", "silu"},          {"swish", "silu"},
      {"gelu", "gelu"},          {"gelu_pytorch_tanh", "gelu_tanh"},
      {"gelu_new", "gelu_tanh"}, {"relu", "relu"}};
  const auto theirs = fields.text(name).value_or(otherwise);
  const auto ours = of_theirs.find(theirs);
  if (ours == of_theirs.end())
    fields.refuse(name, theirs, "silu, gelu, gelu_pytorch_tanh, gelu_new or relu");
  return ours->second;
}

std::string hub_activation(const std::string& ours) {
  if (ours == "swish") return "silu";
  return ours == "gelu_tanh" ? "gelu_pytorch_tanh" : ours;
}

}  // namespace evomoe
