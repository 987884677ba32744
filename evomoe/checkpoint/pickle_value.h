#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace evomoe {

/// Plain data out of a pickle. Sets and tuples are lists; OrderedDict, defaultdict and
/// argparse.Namespace are dicts, which keep their order. Bytes are a string.
struct PickleValue {
  using List = std::vector<PickleValue>;
  struct Dict {
    std::vector<PickleValue> keys;
    std::vector<PickleValue> values;  ///< beside keys
  };
  std::variant<std::monostate, bool, int64_t, double, std::string, List, Dict, torch::Tensor> value;

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

}  // namespace evomoe
