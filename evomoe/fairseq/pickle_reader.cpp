#include "evomoe/fairseq/pickle_reader.h"

#include <algorithm>
#include <map>

#include "evomoe/base/error.h"
#include "evomoe/fairseq/pickle_graph.h"

namespace evomoe {
namespace {

using pickle::Kind;
using pickle::Node;

constexpr int kMaxDepth = 100;
constexpr int64_t kMostCopied = 10'000'000;

/// Copies what is wanted of a graph; the result has no shared parts but the tensors' storages.
class Copier {
 public:
  Copier(const std::string& name, const StorageReader& storage, const PicklePaths& wanted,
         int64_t most)
      : name_(name), storage_(storage), wanted_(wanted), most_(most) {}

  PickleValue copy(Node& root) { return plain(root, 0, wanted_.empty()); }

 private:
  torch::Tensor tensor_of(const pickle::Layout& layout) {
    auto& storage = *layout.storage;
    if (std::count(layout.sizes.begin(), layout.sizes.end(), 0) > 0)
      return torch::empty(layout.sizes, storage.type);
    if (!storage.data.defined())
      storage.data = storage_(storage.key, storage.type, storage.elements);
    EVOMOE_CHECK(
        storage.data.scalar_type() == storage.type && storage.data.numel() == storage.elements,
        "{}: storage '{}' is not the one that the pickle names", name_, storage.key);
    return storage.data.as_strided(layout.sizes, layout.strides, layout.offset);
  }

  std::string copied(std::string_view text) {
    copied_text_ += static_cast<int64_t>(text.size());
    if (copied_text_ > 16 * most_) pickle::fail_too_many(name_, "bytes of text", 16 * most_);
    return std::string(text);
  }

  PickleValue opaque(std::string_view type) {
    PickleValue result;
    result.value = OpaqueValue{copied(type), copied(std::string_view(path_).substr(0, 500))};
    return result;
  }

  /// Whether the entry at `path_` is wanted, leads to one that is, or is neither.
  enum class Wanted { kAll, kBelow, kNo };
  Wanted wanted() const {
    auto found = Wanted::kNo;
    for (const auto& path : wanted_) {
      if (path == path_) return Wanted::kAll;
      if (path.starts_with(path_ + ".")) found = Wanted::kBelow;
    }
    return found;
  }

  /// Runs `copy` with the path below `key`.
  template <typename Copy>
  auto below(const std::string& key, const Copy& copy) {
    const auto length = path_.size();
    path_ += (path_.empty() ? "" : ".") + key.substr(0, 100);
    auto made = copy();
    path_.resize(length);
    return made;
  }

  PickleValue plain_dict(const Node& node, int depth, bool all) {
    PickleValue::Dict dict;
    std::map<std::string_view, size_t> places;  // a key that comes again replaces, as in Python
    for (size_t i = 0; i + 1 < node.items.size(); i += 2) {
      auto& key = *node.items[i];
      const auto name = key.kind == Kind::kText  ? key.text
                        : key.kind == Kind::kInt ? std::to_string(key.integer)
                                                 : std::string("?");
      below(name, [&] {
        const auto need = all ? Wanted::kAll : wanted();
        if (need == Wanted::kNo) return false;
        auto value = plain(*node.items[i + 1], depth + 1, need == Wanted::kAll);
        if (key.kind == Kind::kText) {
          const auto [place, is_new] = places.try_emplace(key.text, dict.keys.size());
          if (!is_new) {
            dict.values[place->second] = std::move(value);
            return true;
          }
        }
        dict.keys.push_back(plain(key, depth + 1, /*all=*/true));
        dict.values.push_back(std::move(value));
        return true;
      });
    }
    PickleValue result;
    result.value = std::move(dict);
    return result;
  }

  PickleValue plain_list(const Node& node, int depth) {
    PickleValue::List list;
    for (size_t i = 0; i < node.items.size(); ++i)
      list.push_back(
          below(std::to_string(i), [&] { return plain(*node.items[i], depth + 1, /*all=*/true); }));
    PickleValue result;
    result.value = std::move(list);
    return result;
  }

  /// `all`: of a dict, and not only the entries that are wanted.
  PickleValue plain(Node& node, int depth, bool all) {
    if (node.open) return opaque("data that contain themselves");
    if (depth > kMaxDepth) return opaque(fmt::format("data nested deeper than {}", kMaxDepth));
    if (++copied_ > most_) pickle::fail_too_many(name_, "values", most_);
    PickleValue result;
    node.open = true;
    switch (node.kind) {
      case Kind::kNone:
        break;
      case Kind::kBool:
        result.value = node.integer != 0;
        break;
      case Kind::kInt:
        result.value = node.integer;
        break;
      case Kind::kReal:
        result.value = node.real;
        break;
      case Kind::kText:
        result.value = copied(node.text);
        break;
      case Kind::kTensor:
        result.value = tensor_of(*node.tensor);
        break;
      case Kind::kList:
      case Kind::kTuple:
        result = plain_list(node, depth);
        break;
      case Kind::kDict:
        result = plain_dict(node, depth, all);
        break;
      case Kind::kStorage:
        result = opaque("a storage");
        break;
      case Kind::kBytes:
        result = opaque("bytes");
        break;
      case Kind::kGlobal:
        result = opaque(node.text);
        break;
      case Kind::kOpaque:
        result = opaque(*node.type);
        break;
      case Kind::kMark:  // never in a graph
        break;
    }
    node.open = false;
    return result;
  }

  const std::string& name_;
  const StorageReader& storage_;
  const PicklePaths& wanted_;
  int64_t most_;  ///< values of the result
  int64_t copied_ = 0;
  int64_t copied_text_ = 0;
  std::string path_;  ///< of what is being copied
};

}  // namespace

PickleValue read_pickle(std::string_view bytes, const std::string& name,
                        const StorageReader& storage, const PicklePaths& wanted) {
  // A list that comes again is copied again: without a limit a small file could make many.
  const auto most =
      std::min<int64_t>(kMostCopied, 100'000 + 16 * static_cast<int64_t>(bytes.size()));
  auto graph = pickle::read_graph(bytes, name, most);
  return Copier(name, storage, wanted, most).copy(*graph.root);
}

}  // namespace evomoe
