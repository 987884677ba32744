#include "evomoe/fairseq/pickle_graph.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/fairseq/pickle_classes.h"

namespace evomoe::pickle {
namespace {

constexpr int64_t kMostValues = 10'000'000;
constexpr size_t kLongestName = 1000;  // of a class
constexpr size_t kMostDimensions = 16;
/// A stride of 0 makes many elements out of few; more than this are not made.
constexpr int64_t kMostExpanded = int64_t{1} << 28;

const std::string kByteArray = "bytearray", kBigInteger = "an integer of more than 64 bits",
                  kExternal = "an external value",
                  kExtension = "an object of a registered extension";

bool is_sequence(const Node& node) { return node.kind == Kind::kList || node.kind == Kind::kTuple; }

/// The stack machine that a pickle is a program of.
class Machine {
 public:
  Machine(std::string_view bytes, const std::string& name, int64_t most)
      : bytes_(bytes), name_(name), most_(most) {}

  Graph run() {
    while (step()) {
    }
    graph_.root = pop();
    return std::move(graph_);
  }

 private:
  template <typename... Args>
  [[noreturn]] void bad(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}: {} (at byte {} of the pickle); the file is damaged or no file of torch.save", name_,
         fmt::format(format, std::forward<Args>(args)...), at_);
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
    if (static_cast<int64_t>(graph_.nodes.size()) >= kMostValues)
      fail_too_many(name_, "values", kMostValues);
    graph_.nodes.emplace_back();
    graph_.nodes.back().kind = kind;
    return &graph_.nodes.back();
  }

  Node* push(Kind kind) {
    stack_.push_back(make(kind));
    return stack_.back();
  }

  /// `type` must live as long as the reader.
  void push_opaque(const std::string& type) { push(Kind::kOpaque)->type = &type; }

  void push_int(int64_t value) { push(Kind::kInt)->integer = value; }
  void push_text(uint64_t bytes) { push(Kind::kText)->text = take(bytes); }

  void push_bytes(uint64_t bytes) { push(Kind::kBytes)->text = take(bytes); }

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

  void add_items(Node& to, const std::vector<Node*>& items) {
    items_ += static_cast<int64_t>(items.size());
    if (items_ > 2 * most_) fail_too_many(name_, "values", most_);
    to.items.insert(to.items.end(), items.begin(), items.end());
  }

  void append(const std::vector<Node*>& items) {
    auto* list = top();
    if (list->kind == Kind::kOpaque) return;
    if (list->kind != Kind::kList) bad("values are added to what is no list");
    add_items(*list, items);
  }

  void set_items(const std::vector<Node*>& items) {
    auto* dict = top();
    if (items.size() % 2 != 0) bad("a key without a value");
    if (dict->kind == Kind::kOpaque) return;
    if (dict->kind != Kind::kDict) bad("entries are set in what is no dict");
    add_items(*dict, items);
  }

  void push_tuple(std::vector<Node*> items) { push(Kind::kTuple)->items = std::move(items); }

  void push_tuple(int count) {
    std::vector<Node*> items(static_cast<size_t>(count));
    for (size_t i = items.size(); i > 0; --i) items[i - 1] = pop();
    push_tuple(std::move(items));
  }

  void push_global(std::string_view module, std::string_view name) {
    if (module.size() + name.size() > kLongestName) bad("the name of a class is too long");
    push(Kind::kGlobal)->text = fmt::format("{}.{}", module, name);
  }

  void remember(uint64_t key) { memo_[key] = top(); }

  void recall(uint64_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) bad("it refers to value {}, which is not there", key);
    stack_.push_back(found->second);
  }

  void long_integer(uint64_t width) {
    const auto part = take(width);
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(part[i]); };
    const bool negative = !part.empty() && byte(part.size() - 1) >= 0x80;
    auto value = negative ? ~uint64_t{0} : uint64_t{0};
    const auto shown = std::min<size_t>(part.size(), 8);
    if (shown > 0) std::memcpy(&value, part.data(), shown);
    const auto sign = static_cast<unsigned char>(negative ? 0xff : 0);
    for (size_t i = 8; i < part.size(); ++i) {
      if (byte(i) != sign) return push_opaque(kBigInteger);
    }
    if ((static_cast<int64_t>(value) < 0) != negative) return push_opaque(kBigInteger);
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

  /// An external value: a storage of torch, or something else, which is opaque.
  void persistent() {
    const auto* id = pop();
    if (id->kind != Kind::kTuple || id->items.empty() || id->items[0]->kind != Kind::kText ||
        id->items[0]->text != "storage") {
      return push_opaque(kExternal);
    }
    const auto& type = argument(*id, 1, Kind::kGlobal, "the type of a storage").text;
    const auto found = storage_types().find(type);
    if (found == storage_types().end()) return push_opaque(type);
    const auto& key = argument(*id, 2, Kind::kText, "the name of a storage").text;
    const auto elements = argument(*id, 4, Kind::kInt, "the size of a storage").integer;
    if (elements < 0) bad("storage '{}' has {} elements", key, elements);
    const auto [entry, is_new] = graph_.storages.try_emplace(key);
    auto& storage = entry->second;
    if (is_new) storage = {key, found->second, elements, {}};
    if (storage.type != found->second || storage.elements != elements)
      bad("storage '{}' comes with two types or sizes", key);
    push(Kind::kStorage)->storage = &storage;
  }

  std::vector<int64_t> integers(const Node& tuple) const {
    if (tuple.items.size() > kMostDimensions) bad("a tensor has {} dimensions", tuple.items.size());
    std::vector<int64_t> values;
    for (const auto* item : tuple.items) {
      if (item->kind != Kind::kInt || item->integer < 0) bad("a tensor's size or stride is bad");
      values.push_back(item->integer);
    }
    return values;
  }

  void rebuild_tensor(const Node& call) {
    if (!call.items.empty() && call.items[0]->kind == Kind::kOpaque)
      return push_opaque(*call.items[0]->type);
    auto layout = std::make_unique<Layout>();
    layout->storage = argument(call, 0, Kind::kStorage, "a tensor's storage").storage;
    layout->offset = argument(call, 1, Kind::kInt, "a tensor's offset").integer;
    layout->sizes = integers(argument(call, 2, Kind::kTuple, "a tensor's shape"));
    layout->strides = integers(argument(call, 3, Kind::kTuple, "a tensor's strides"));
    const auto& [storage, offset, sizes, strides] = *layout;
    if (sizes.size() != strides.size()) bad("a tensor's shape does not fit its strides");
    if (offset < 0) bad("a tensor begins at {} of its storage", offset);
    // In 128 bits nothing overflows.
    constexpr auto kMany = __int128{1} << 62;
    __int128 last = offset, elements = 1, without_empty = 1;
    for (size_t i = 0; i < sizes.size(); ++i) {
      if (sizes[i] > 0) last += static_cast<__int128>(sizes[i] - 1) * strides[i];
      elements = std::min(elements * sizes[i], kMany);
      without_empty = std::min(without_empty * std::max<int64_t>(sizes[i], 1), kMany);
    }
    if (without_empty == kMany) bad("a tensor's shape is larger than any memory");
    // A tensor without elements may begin anywhere.
    if (elements > 0 && last >= storage->elements)
      bad("a tensor reaches beyond its storage of {} elements", storage->elements);
    if (elements > std::max(storage->elements, kMostExpanded))
      bad("a tensor of {} elements is made of a storage of {}", static_cast<int64_t>(elements),
          storage->elements);
    push(Kind::kTensor)->tensor = std::move(layout);
  }

  /// What an unknown call makes: functions that begin with an underscore are given the class.
  static const std::string& class_made(const Node& function, const Node& call) {
    const auto& name = function.text;
    const bool is_helper = name.compare(name.rfind('.') + 1, 1, "_") == 0;
    const bool has_class = !call.items.empty() && call.items[0]->kind == Kind::kGlobal;
    return is_helper && has_class ? call.items[0]->text : name;
  }

  void make_list(const Node& call) {
    auto* list = make(Kind::kList);
    if (!call.items.empty()) {
      if (!is_sequence(*call.items[0])) bad("a list of what is no list");
      add_items(*list, call.items[0]->items);
    }
    stack_.push_back(list);
  }

  void make_dict(const std::string& type, const Node& call) {
    auto* dict = make(Kind::kDict);
    dict->type = &type;
    stack_.push_back(dict);
    // defaultdict is called with its factory, which is left out.
    if (call.items.empty() || type == kDefaultDict) return;
    const auto* content = call.items[0];
    if (content->kind == Kind::kDict) return add_items(*dict, content->items);
    if (!is_sequence(*content)) bad("a dict of what is no list");
    for (const auto* pair : content->items) {
      if (!is_sequence(*pair) || pair->items.size() != 2) bad("an entry of a dict is no pair");
      add_items(*dict, pair->items);
    }
  }

  template <typename T>
  bool push_number(const std::string& bytes) {
    T value{};
    if (bytes.size() != sizeof value) return false;
    std::memcpy(&value, bytes.data(), sizeof value);
    if constexpr (std::is_floating_point_v<T>) {
      push(Kind::kReal)->real = value;
    } else {
      push_int(value);
    }
    return true;
  }

  /// A number of NumPy, as a plain one where it fits into 64 bits.
  void numpy_scalar(const std::string& name, const Node& call) {
    if (call.items.size() == 2 && call.items[0]->kind == Kind::kOpaque &&
        *call.items[0]->type == kNumpyType && call.items[1]->kind == Kind::kBytes) {
      const auto& type = call.items[0]->text;
      const auto& bytes = call.items[1]->text;
      if ((type == "f8" && push_number<double>(bytes)) ||
          (type == "f4" && push_number<float>(bytes)) ||
          (type == "i8" && push_number<int64_t>(bytes)) ||
          (type == "i4" && push_number<int32_t>(bytes)))
        return;
    }
    push_opaque(name);
  }

  /// Bytes, which protocol 2 writes as the text of their Latin-1 characters. Only those of a number
  /// are looked at.
  void encode(const Node& call) {
    const auto& text = argument(call, 0, Kind::kText, "a text to be encoded").text;
    auto* bytes = push(Kind::kBytes);
    if (text.size() > 2 * sizeof(double)) return;
    for (size_t i = 0; i < text.size(); ++i) {
      const auto c = static_cast<unsigned char>(text[i]);
      const bool is_pair = (c == 0xc2 || c == 0xc3) && i + 1 < text.size();
      bytes->text += is_pair ? static_cast<char>((c << 6) | (text[++i] & 0x3f)) : text[i];
    }
  }

  /// The class or function below the arguments "is called": those that make plain data and tensors
  /// do, all others make something opaque.
  void reduce() {
    const auto* call = pop();
    const auto* function = pop();
    if (call->kind != Kind::kTuple) bad("a call without arguments");
    if (function->kind == Kind::kOpaque) return push_opaque(*function->type);
    if (function->kind != Kind::kGlobal) bad("a call of no function");
    const auto& name = function->text;
    if (name == kRebuildTensor) {
      rebuild_tensor(*call);
    } else if (is_rebuild_from_type(name)) {
      const auto& made_by = argument(*call, 0, Kind::kGlobal, "a tensor's function").text;
      const auto& type = argument(*call, 1, Kind::kGlobal, "a tensor's class").text;
      const auto& data = argument(*call, 2, Kind::kTuple, "a tensor's data");
      if (made_by == kRebuildTensor && is_tensor_class(type)) {
        rebuild_tensor(data);
      } else {
        push_opaque(type);
      }
    } else if (is_rebuild_parameter(name)) {
      if (call->items.empty() ||
          (call->items[0]->kind != Kind::kTensor && call->items[0]->kind != Kind::kOpaque))
        bad("a parameter's data is missing");
      stack_.push_back(call->items[0]);
    } else if (name == "_codecs.encode") {
      encode(*call);
    } else if (is_numpy_scalar(name)) {
      numpy_scalar(name, *call);
    } else if (is_list_class(name)) {
      make_list(*call);
    } else if (is_dict_class(name)) {
      make_dict(name, *call);
    } else {
      push_opaque(class_made(*function, *call));
      if (name == kNumpyType && !call->items.empty() && call->items[0]->text.size() == 2)
        stack_.back()->text = call->items[0]->text;
    }
  }

  void reduce_with_keywords() {
    const auto* keywords = pop();
    if (keywords->kind != Kind::kDict) bad("keywords that are no dict");
    if (keywords->items.empty()) return reduce();
    const auto* call = pop();
    const auto* function = pop();
    if (function->kind != Kind::kGlobal) bad("a call of no function");
    push_opaque(class_made(*function, *call));
  }

  /// An object's state: the content of a Namespace; of others, attributes, which are none.
  void build() {
    const auto* state = pop();
    auto* object = top();
    switch (object->kind) {
      case Kind::kDict:
        if (object->type == nullptr || *object->type != kNamespace) return;
        if (state->kind != Kind::kDict) bad("the attributes of a Namespace are no dict");
        return add_items(*object, state->items);
      case Kind::kOpaque:
        // dtype's state begins with its version and the order of bytes.
        if (*object->type == kNumpyType && state->kind == Kind::kTuple && state->items.size() > 1 &&
            state->items[1]->text == ">")
          object->text.clear();
        return;
      case Kind::kTensor:
      case Kind::kGlobal:
      case Kind::kList:
      case Kind::kInt:
      case Kind::kReal:
        return;
      default:
        bad("attributes are set of what has none");
    }
  }

  [[noreturn]] void refuse_opcode(unsigned char opcode) const {
    if (std::strchr("ILFSVPpgdlio", opcode) != nullptr && opcode != 0) {
      fail(
          "{}: its pickle is of protocol 0 or 1, which is not read; load it and save it again with "
          "torch.save, whose protocol is 2 unless another is given",
          name_);
    }
    if (opcode == 0x97 || opcode == 0x98) {
      fail(
          "{}: its pickle leaves buffers to its reader (out-of-band, protocol 5), and the file has "
          "none; load it where it comes from and save it again with torch.save",
          name_);
    }
    bad("opcode 0x{:02x} is unknown", opcode);
  }

  /// Executes one opcode; false at the end.
  bool step() {
    const auto opcode = static_cast<unsigned char>(take(1)[0]);
    // clang-format off
    switch (opcode) {
      case 0x80:
        if (const auto version = number(1); version > 5)
          bad("pickle protocol {}; the last known one is 5", version);
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
      case 0x8a: long_integer(number(1)); break;
      case 0x8b: long_integer(number(4)); break;
      case 'G': real(); break;
      case 'X': case 'T': push_text(number(4)); break;
      case 0x8c: case 'U': push_text(number(1)); break;
      case 0x8d: push_text(number(8)); break;
      case 'B': push_bytes(number(4)); break;
      case 'C': push_bytes(number(1)); break;
      case 0x8e: push_bytes(number(8)); break;
      case 0x96: take(number(8)); push_opaque(kByteArray); break;
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
        const auto module = line();
        push_global(module, line());
        break;
      }
      case 0x93: {
        const auto* name = pop();
        const auto* module = pop();
        if (name->kind != Kind::kText || module->kind != Kind::kText) bad("a name is no text");
        push_global(module->text, name->text);
        break;
      }
      case 0x82: number(1); push_opaque(kExtension); break;
      case 0x83: number(2); push_opaque(kExtension); break;
      case 0x84: number(4); push_opaque(kExtension); break;
      case 'R': case 0x81: reduce(); break;
      case 0x92: reduce_with_keywords(); break;
      case 'b': build(); break;
      case 'Q': persistent(); break;
      default: refuse_opcode(opcode);
    }
    // clang-format on
    return true;
  }

  std::string_view bytes_;
  const std::string& name_;
  int64_t most_;
  size_t at_ = 0;
  Graph graph_;
  std::vector<Node*> stack_;
  std::unordered_map<uint64_t, Node*> memo_;
  int64_t items_ = 0;  ///< in all containers
};

}  // namespace

Graph read_graph(std::string_view bytes, const std::string& name, int64_t most) {
  return Machine(bytes, name, most).run();
}

void fail_too_many(const std::string& name, const char* what, int64_t most) {
  fail(
      "{}: holds more than {} {} beside its tensors, and more are not read; save only what is "
      "needed (of a checkpoint of fairseq, its 'model' and 'cfg')",
      name, most, what);
}

}  // namespace evomoe::pickle
