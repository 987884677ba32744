#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

/// A pickle's values before they are copied into a PickleValue (pickle_reader.h).
namespace evomoe::pickle {

enum class Kind {
  kNone,
  kBool,
  kInt,
  kReal,
  kText,
  kList,
  kTuple,
  kDict,
  kStorage,
  kTensor,
  kGlobal,
  kBytes,
  kOpaque,
  kMark
};

struct Storage {
  std::string key;
  torch::ScalarType type = torch::kFloat32;
  int64_t elements = 0;
  torch::Tensor data;  ///< undefined before a tensor of it is wanted
};

/// Which elements of its storage a tensor has.
struct Layout {
  Storage* storage = nullptr;
  int64_t offset = 0;
  std::vector<int64_t> sizes, strides;
};

/// A value of the pickle. Values refer to each other freely (the memo may even make circles), so
/// the graph owns them all.
struct Node {
  Kind kind = Kind::kNone;
  bool open = false;  ///< is being copied
  int64_t integer = 0;
  double real = 0;
  std::string text;                   // also "module.name" of a global, "f8" of a numpy.dtype
  std::vector<Node*> items;           // of a dict: key, value, key, value ...
  const std::string* type = nullptr;  // class of a dict or of what is opaque
  Storage* storage = nullptr;
  std::unique_ptr<Layout> tensor;
};

struct Graph {
  std::deque<Node> nodes;
  std::map<std::string, Storage> storages;
  Node* root = nullptr;  ///< the pickled value
};

/// Executes the opcodes of `bytes`; nothing is imported or called, and no storage read. At most
/// `most` entries of containers. Errors as of read_pickle().
Graph read_graph(std::string_view bytes, const std::string& name, int64_t most);

/// Error: the file `name` holds more than `most` of `what`.
[[noreturn]] void fail_too_many(const std::string& name, const char* what, int64_t most);

}  // namespace evomoe::pickle
