#include "evomoe/checkpoint/pickle_reader.h"

#include <cstring>
#include <deque>
#include <map>
#include <unordered_map>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

constexpr int kMaxDepth = 100;
constexpr int64_t kMaxValues = 10'000'000;

enum class Kind { kNone, kBool, kInt, kReal, kText, kList, kTuple, kDict, kTensor, kGlobal, kMark };

/// A value while the pickle is read. Values refer to each other freely (the memo may even make
/// circles), so the reader owns them all; the result is a copy without shared parts.
struct Node {
  Kind kind = Kind::kNone;
  int64_t integer = 0;
  double real = 0;
  std::string text;          // also "module.name" of a global
  std::vector<Node*> items;  // of a dict: key, value, key, value ...
  torch::Tensor tensor;
};

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
  return name == "collections.OrderedDict" || name == "collections.defaultdict" ||
         name == "argparse.Namespace" || name == "builtins.dict" || name == "__builtin__.dict";
}

/// Rebuilds a tensor that was given attributes, which are no content.
bool is_rebuild_from_type(const std::string& name) {
  return name == "torch._tensor._rebuild_from_type_v2" ||
         name == "torch._tensor._rebuild_from_type";
}

bool is_list_class(const std::string& name) {
  return name == "builtins.set" || name == "__builtin__.set" || name == "builtins.frozenset" ||
         name == "__builtin__.frozenset" || name == "builtins.list" || name == "__builtin__.list" ||
         name == "torch.Size";
}

class Reader {
 public:
  Reader(std::string_view bytes, const std::string& name, const StorageReader& storage)
      : bytes_(bytes), name_(name), storage_(storage) {}

  PickleValue read() {
    while (step()) {
    }
    return plain(*pop(), 0);
  }

 private:
  template <typename... Args>
  [[noreturn]] void bad(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}: {} (at byte {} of the pickle); the file is damaged or no checkpoint", name_,
         fmt::format(format, std::forward<Args>(args)...), at_);
  }

  [[noreturn]] void refuse(const std::string& name) const {
    fail(
        "{}: {} is not plain data; nothing was executed. Load the file where it comes from and "
        "save its tensors and plain dicts alone",
        name_, name);
  }

  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - at_) bad("it ends within a value of {} bytes", count);
    const auto part = bytes_.substr(at_, count);
    at_ += count;
    return part;
  }

  uint64_t number(int width) {
    uint64_t value = 0;
    const auto part = take(static_cast<uint64_t>(width));
    for (int i = 0; i < width; ++i) {
      value |= static_cast<uint64_t>(static_cast<unsigned char>(part[static_cast<size_t>(i)]))
               << (8 * i);
    }
    return value;
  }

  std::string_view line() {
    const auto end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) bad("it ends within a name");
    const auto part = bytes_.substr(at_, end - at_);
    at_ = end + 1;
    return part;
  }

  Node* make(Kind kind) {
    if (static_cast<int64_t>(nodes_.size()) >= kMaxValues) bad("more than {} values", kMaxValues);
    nodes_.emplace_back();
    nodes_.back().kind = kind;
    return &nodes_.back();
  }

  Node* push(Kind kind) {
    stack_.push_back(make(kind));
    return stack_.back();
  }

  void push_int(int64_t value) { push(Kind::kInt)->integer = value; }
  void push_text(uint64_t bytes) { push(Kind::kText)->text = take(bytes); }

  Node* pop() {
    if (stack_.empty()) bad("a value is missing");
    auto* node = stack_.back();
    if (node->kind == Kind::kMark) bad("a mark stands where a value should");
    stack_.pop_back();
    return node;
  }

  Node* top() {
    auto* node = pop();
    stack_.push_back(node);
    return node;
  }

  std::vector<Node*> pop_to_mark() {
    for (size_t i = stack_.size(); i > 0; --i) {
      if (stack_[i - 1]->kind != Kind::kMark) continue;
      std::vector<Node*> items(stack_.begin() + static_cast<std::ptrdiff_t>(i), stack_.end());
      stack_.resize(i - 1);
      return items;
    }
    bad("a mark is missing");
  }

  void append(const std::vector<Node*>& items) {
    auto* list = top();
    if (list->kind != Kind::kList) bad("values are added to what is no list");
    list->items.insert(list->items.end(), items.begin(), items.end());
  }

  void set_items(const std::vector<Node*>& items) {
    auto* dict = top();
    if (dict->kind != Kind::kDict) bad("entries are set in what is no dict");
    if (items.size() % 2 != 0) bad("a key without a value");
    dict->items.insert(dict->items.end(), items.begin(), items.end());
  }

  void push_tuple(std::vector<Node*> items) { push(Kind::kTuple)->items = std::move(items); }

  void push_tuple(int count) {
    std::vector<Node*> items(static_cast<size_t>(count));
    for (size_t i = items.size(); i > 0; --i) items[i - 1] = pop();
    push_tuple(std::move(items));
  }

  void push_global(const std::string& name) {
    if (!is_dict_class(name) && !is_list_class(name) && !storage_types().contains(name) &&
        name != "torch._utils._rebuild_tensor_v2" && name != "torch._utils._rebuild_parameter" &&
        !is_rebuild_from_type(name) && name != "torch.Tensor") {
      refuse(name);
    }
    push(Kind::kGlobal)->text = name;
  }

  void remember(uint64_t key) { memo_[key] = top(); }

  void recall(uint64_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) bad("it refers to value {}, which is not there", key);
    stack_.push_back(found->second);
  }

  void long_integer() {
    const auto width = number(1);
    if (width > 8) bad("an integer of {} bytes", width);
    auto value = number(static_cast<int>(width));
    const bool negative = width > 0 && (value >> (8 * width - 1)) != 0;
    if (negative && width < 8) value |= ~uint64_t{0} << (8 * width);
    push_int(static_cast<int64_t>(value));
  }

  void real() {
    uint64_t bits = 0;
    for (const char c : take(8)) bits = bits << 8 | static_cast<unsigned char>(c);
    std::memcpy(&push(Kind::kReal)->real, &bits, sizeof bits);
  }

  const Node& argument(const Node& call, size_t index, Kind kind, const char* what) const {
    if (call.items.size() <= index || call.items[index]->kind != kind) bad("{} is missing", what);
    return *call.items[index];
  }

  void persistent() {
    const auto* id = pop();
    if (id->kind != Kind::kTuple) bad("an unknown kind of external value");
    if (argument(*id, 0, Kind::kText, "the kind of an external value").text != "storage")
      bad("an unknown kind of external value");
    const auto& type = argument(*id, 1, Kind::kGlobal, "the type of a storage").text;
    const auto found = storage_types().find(type);
    if (found == storage_types().end()) bad("'{}' is no type of storage", type);
    const auto& key = argument(*id, 2, Kind::kText, "the name of a storage").text;
    const auto elements = argument(*id, 4, Kind::kInt, "the size of a storage").integer;
    if (elements < 0) bad("storage '{}' has {} elements", key, elements);
    auto& known = storages_[key];
    if (!known.defined()) known = storage_(key, found->second, elements);
    if (known.scalar_type() != found->second || known.numel() != elements)
      bad("storage '{}' comes with two types or sizes", key);
    push(Kind::kTensor)->tensor = known;
  }

  std::vector<int64_t> integers(const Node& tuple) const {
    std::vector<int64_t> values;
    for (const auto* item : tuple.items) {
      if (item->kind != Kind::kInt || item->integer < 0) bad("a tensor's size or stride is bad");
      values.push_back(item->integer);
    }
    return values;
  }

  void rebuild_tensor(const Node& call) {
    const auto& storage = argument(call, 0, Kind::kTensor, "a tensor's storage").tensor;
    const auto offset = argument(call, 1, Kind::kInt, "a tensor's offset").integer;
    const auto sizes = integers(argument(call, 2, Kind::kTuple, "a tensor's shape"));
    const auto strides = integers(argument(call, 3, Kind::kTuple, "a tensor's strides"));
    if (storage.dim() != 1 || sizes.size() != strides.size() || sizes.size() > 16 || offset < 0)
      bad("a tensor's shape does not fit its strides");
    // In 128 bits nothing overflows; a stride of 0 would make many elements out of few.
    __int128 last = offset, elements = 1;
    for (size_t i = 0; i < sizes.size(); ++i) {
      if (sizes[i] > 0) last += static_cast<__int128>(sizes[i] - 1) * strides[i];
      elements = std::min<__int128>(elements * sizes[i], __int128{1} << 62);
    }
    if (elements > storage.numel() || offset > storage.numel() ||
        (elements > 0 && last >= storage.numel())) {
      bad("a tensor reaches beyond its storage of {} elements", storage.numel());
    }
    auto tensor = storage.as_strided(sizes, strides, offset);
    push(Kind::kTensor)->tensor = tensor;
  }

  /// Class or function of the stack's top but one, called with the tuple on top.
  void reduce() {
    const auto* call = pop();
    const auto* function = pop();
    if (call->kind != Kind::kTuple || function->kind != Kind::kGlobal) bad("a call of no function");
    const auto& name = function->text;
    if (name == "torch._utils._rebuild_tensor_v2") {
      rebuild_tensor(*call);
    } else if (is_rebuild_from_type(name)) {
      if (argument(*call, 0, Kind::kGlobal, "a tensor's function").text !=
              "torch._utils._rebuild_tensor_v2" ||
          argument(*call, 1, Kind::kGlobal, "a tensor's class").text != "torch.Tensor")
        bad("a tensor of an unknown kind");
      rebuild_tensor(argument(*call, 2, Kind::kTuple, "a tensor's data"));
    } else if (name == "torch._utils._rebuild_parameter") {
      push(Kind::kTensor)->tensor = argument(*call, 0, Kind::kTensor, "a parameter's data").tensor;
    } else if (is_list_class(name)) {
      auto* list = push(Kind::kList);
      if (call->items.empty()) return;
      if (call->items[0]->kind != Kind::kList && call->items[0]->kind != Kind::kTuple)
        bad("{} of what is no list", name);
      list->items = call->items[0]->items;
    } else if (is_dict_class(name)) {
      auto* dict = push(Kind::kDict);
      // defaultdict is called with its factory, which is left out.
      if (call->items.empty() || name == "collections.defaultdict") return;
      const auto* content = call->items[0];
      if (content->kind == Kind::kDict) {
        dict->items = content->items;
        return;
      }
      if (content->kind != Kind::kList) bad("{} of what is no list", name);
      for (const auto* pair : content->items) {
        if (pair->items.size() != 2) bad("an entry of {} is no pair", name);
        dict->items.insert(dict->items.end(), pair->items.begin(), pair->items.end());
      }
    } else {
      bad("{} is called, which is no function", name);
    }
  }

  void build() {
    const auto* state = pop();
    auto* object = top();
    if (state->kind != Kind::kDict || object->kind != Kind::kDict)
      bad("attributes are set of what is no plain object");
    // A state dict carries the versions of its modules as an attribute, which is not content.
    for (size_t i = 0; i + 1 < state->items.size(); i += 2) {
      if (state->items[i]->kind == Kind::kText && state->items[i]->text == "_metadata") return;
    }
    object->items.insert(object->items.end(), state->items.begin(), state->items.end());
  }

  /// Executes one opcode; false at the end.
  bool step() {
    const auto opcode = static_cast<unsigned char>(take(1)[0]);
    // clang-format off
    switch (opcode) {
      case 0x80:
        if (const auto version = number(1); version > 5) bad("pickle protocol {}", version);
        break;
      case 0x95: number(8); break;
      case '.': return false;
      case '(': push(Kind::kMark); break;
      case '0': pop(); break;
      case '1': pop_to_mark(); break;
      case '2': stack_.push_back(top()); break;
      case 'N': push(Kind::kNone); break;
      case 0x88: push(Kind::kBool)->integer = 1; break;
      case 0x89: push(Kind::kBool); break;
      case 'J': push_int(static_cast<int32_t>(number(4))); break;
      case 'K': push_int(static_cast<int64_t>(number(1))); break;
      case 'M': push_int(static_cast<int64_t>(number(2))); break;
      case 0x8a: long_integer(); break;
      case 'G': real(); break;
      case 'X': case 'B': case 'T': push_text(number(4)); break;
      case 0x8c: case 'C': case 'U': push_text(number(1)); break;
      case 0x8d: case 0x8e: push_text(number(8)); break;
      case ']': case 0x8f: push(Kind::kList); break;
      case '}': push(Kind::kDict); break;
      case ')': push_tuple(0); break;
      case 0x85: push_tuple(1); break;
      case 0x86: push_tuple(2); break;
      case 0x87: push_tuple(3); break;
      case 't': case 0x91: push_tuple(pop_to_mark()); break;
      case 'a': {
        auto* item = pop();
        append({item});
        break;
      }
      case 'e': case 0x90: append(pop_to_mark()); break;
      case 's': {
        auto* value = pop();
        auto* key = pop();
        set_items({key, value});
        break;
      }
      case 'u': set_items(pop_to_mark()); break;
      case 'q': remember(number(1)); break;
      case 'r': remember(number(4)); break;
      case 0x94: remember(memo_.size()); break;
      case 'h': recall(number(1)); break;
      case 'j': recall(number(4)); break;
      case 'c': {
        const auto module = std::string(line());
        push_global(module + "." + std::string(line()));
        break;
      }
      case 0x93: {
        const auto* name = pop();
        const auto* module = pop();
        if (name->kind != Kind::kText || module->kind != Kind::kText) bad("a name is no text");
        push_global(module->text + "." + name->text);
        break;
      }
      case 'R': case 0x81: reduce(); break;
      case 'b': build(); break;
      case 'Q': persistent(); break;
      default: bad("opcode 0x{:02x} is not one of plain data; nothing was executed", opcode);
    }
    // clang-format on
    return true;
  }

  PickleValue plain(const Node& node, int depth) {
    if (depth > kMaxDepth) bad("it is nested deeper than {} or contains itself", kMaxDepth);
    if (++copied_ > kMaxValues) bad("more than {} values", kMaxValues);
    PickleValue result;
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
        result.value = node.text;
        break;
      case Kind::kTensor:
        result.value = node.tensor;
        break;
      case Kind::kList:
      case Kind::kTuple: {
        PickleValue::List list;
        for (const auto* item : node.items) list.push_back(plain(*item, depth + 1));
        result.value = std::move(list);
        break;
      }
      case Kind::kDict: {
        PickleValue::Dict dict;
        for (size_t i = 0; i + 1 < node.items.size(); i += 2) {
          dict.keys.push_back(plain(*node.items[i], depth + 1));
          dict.values.push_back(plain(*node.items[i + 1], depth + 1));
        }
        result.value = std::move(dict);
        break;
      }
      case Kind::kGlobal:
        refuse(node.text);
      case Kind::kMark:
        bad("a mark stands where a value should");
    }
    return result;
  }

  std::string_view bytes_;
  const std::string& name_;
  const StorageReader& storage_;
  size_t at_ = 0;
  std::deque<Node> nodes_;
  std::vector<Node*> stack_;
  std::unordered_map<uint64_t, Node*> memo_;
  std::unordered_map<std::string, torch::Tensor> storages_;
  int64_t copied_ = 0;
};

}  // namespace

PickleValue read_pickle(std::string_view bytes, const std::string& name,
                        const StorageReader& storage) {
  return Reader(bytes, name, storage).read();
}

}  // namespace evomoe
