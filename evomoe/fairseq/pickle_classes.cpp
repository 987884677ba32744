#include "evomoe/fairseq/pickle_classes.h"

namespace evomoe::pickle {

const std::map<std::string, torch::ScalarType>& storage_types() {
  static const std::map<std::string, torch::ScalarType> types = {
      {"torch.DoubleStorage", torch::kFloat64}, {"torch.FloatStorage", torch::kFloat32},
      {"torch.HalfStorage", torch::kFloat16},   {"torch.BFloat16Storage", torch::kBFloat16},
      {"torch.LongStorage", torch::kInt64},     {"torch.IntStorage", torch::kInt32},
      {"torch.ShortStorage", torch::kInt16},    {"torch.CharStorage", torch::kInt8},
      {"torch.ByteStorage", torch::kUInt8},     {"torch.BoolStorage", torch::kBool}};
  return types;
}

bool is_dict_class(const std::string& name) {
  return name == "collections.OrderedDict" || name == kDefaultDict || name == kNamespace ||
         name == "builtins.dict" || name == "__builtin__.dict";
}

bool is_rebuild_from_type(const std::string& name) {
  return name == "torch._tensor._rebuild_from_type_v2" ||
         name == "torch._tensor._rebuild_from_type";
}

bool is_rebuild_parameter(const std::string& name) {
  return name == "torch._utils._rebuild_parameter" ||
         name == "torch._utils._rebuild_parameter_with_state";
}

bool is_tensor_class(const std::string& name) {
  return name == "torch.Tensor" || name == "torch.nn.parameter.Parameter";
}

bool is_list_class(const std::string& name) {
  return name == "builtins.set" || name == "__builtin__.set" || name == "builtins.frozenset" ||
         name == "__builtin__.frozenset" || name == "builtins.list" || name == "__builtin__.list" ||
         name == "torch.Size";
}

bool is_numpy_scalar(const std::string& name) {
  return name == "numpy.core.multiarray.scalar" || name == "numpy._core.multiarray.scalar";
}

}  // namespace evomoe::pickle
