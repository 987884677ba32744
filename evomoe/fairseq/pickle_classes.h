#pragma once

#include <torch/torch.h>

#include <map>
#include <string>

/// The classes and functions, as "module.name", that a pickle may name and that are understood.
namespace evomoe::pickle {

inline const std::string kNamespace = "argparse.Namespace";
inline const std::string kDefaultDict = "collections.defaultdict";
inline const std::string kRebuildTensor = "torch._utils._rebuild_tensor_v2";
inline const std::string kNumpyType = "numpy.dtype";

/// The classes of torch's storages.
const std::map<std::string, torch::ScalarType>& storage_types();

bool is_dict_class(const std::string& name);
bool is_list_class(const std::string& name);  ///< sets and torch.Size too
bool is_tensor_class(const std::string& name);
/// Rebuilds a tensor that was given attributes, which are no content.
bool is_rebuild_from_type(const std::string& name);
bool is_rebuild_parameter(const std::string& name);
/// A number of NumPy: numpy.core.multiarray.scalar(dtype, bytes).
bool is_numpy_scalar(const std::string& name);

}  // namespace evomoe::pickle
