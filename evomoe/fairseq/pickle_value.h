#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace evomoe {

/// A value that was skipped: of a class that is not known, or data that plain ones cannot hold.
struct OpaqueValue {
  std::string type;  ///< "numpy.ndarray", or in words: "data that contain themselves"
  std::string path;  ///< where it lies in the file: "extra_state.metrics.valid"
};

/// Plain data out of a pickle. Sets and tuples are lists; OrderedDict, defaultdict and
/// argparse.Namespace are dicts, which keep their order. Everything else (bytes too) is opaque.
struct PickleValue {
  using List = std::vector<PickleValue>;
  struct Dict {
    std::vector<PickleValue> keys;
    std::vector<PickleValue> values;  ///< beside keys
  };
  std::variant<std::monostate, bool, int64_t, double, std::string, List, Dict, torch::Tensor,
               OpaqueValue>
      value;

  template <typename T>
  const T* get_if() const {
    return std::get_if<T>(&value);
  }

  /// The entry of a dict; nullptr where this is no dict or has none.
  const PickleValue* find(const std::string& key) const {
    const auto* dict = get_if<Dict>();
    if (dict == nullptr) return nullptr;
    for (size_t i = 0; i < dict->keys.size(); ++i) {
      const auto* text = dict->keys[i].get_if<std::string>();
      if (text != nullptr && *text == key) return &dict->values[i];
    }
    return nullptr;
  }
};

/// "an integer", "a value of the class numpy.ndarray" ..., for errors.
std::string kind_of(const PickleValue& value);

/// A number: an integer, a real, a bool (0 or 1) or a tensor of one element; nothing for any other
/// value, and for nullptr.
std::optional<double> number_of(const PickleValue* value);

}  // namespace evomoe
