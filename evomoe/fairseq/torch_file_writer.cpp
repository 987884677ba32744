#include "evomoe/fairseq/torch_file_writer.h"

#include <caffe2/serialize/inline_container.h>

#include <algorithm>
#include <cstring>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

/// Writes the pickle, and collects the tensors that it names by their order.
class PickleWriter {
 public:
  std::string text = "\x80\x02";
  std::vector<torch::Tensor> tensors;

  void write(const PickleValue& value) {
    std::visit([&](const auto& v) { put(v); }, value.value);
  }

 private:
  void number(uint64_t value, int width) {
    for (int i = 0; i < width; ++i) text += static_cast<char>(value >> (8 * i));
  }

  void put(std::monostate) { text += 'N'; }
  void put(bool value) { text += value ? '\x88' : '\x89'; }
  void put(int64_t value) {
    text += "\x8a\x08";
    number(static_cast<uint64_t>(value), 8);
  }
  void put(double value) {
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    text += 'G';
    for (int i = 7; i >= 0; --i) text += static_cast<char>(bits >> (8 * i));
  }
  void put(const std::string& value) {
    text += 'X';
    number(value.size(), 4);
    text += value;
  }
  void put(const PickleValue::List& list) {
    text += "](";
    for (const auto& item : list) write(item);
    text += 'e';
  }
  void put(const PickleValue::Dict& dict) {
    text += "}(";
    for (size_t i = 0; i < dict.keys.size(); ++i) {
      write(dict.keys[i]);
      write(dict.values[i]);
    }
    text += 'u';
  }
  void put(const OpaqueValue& opaque) {
    fail("'{}' was skipped when it was read ({}), so it cannot be written", opaque.path,
         opaque.type);
  }
  void put(c10::IntArrayRef values) {
    text += '(';
    for (const auto value : values) put(value);
    text += 't';
  }
  void put(const torch::Tensor& given) {
    const auto tensor = given.detach().cpu().contiguous();
    text += "ctorch._utils\n_rebuild_tensor_v2\n((";
    put(std::string("storage"));
    text += "ctorch\n" + storage_type(tensor.scalar_type()) + "\n";
    // A tensor that comes again (tied embeddings) has the storage of before, as torch.save does it.
    const auto known = std::find_if(tensors.begin(), tensors.end(), [&](const auto& other) {
      return tensor.numel() > 0 && other.data_ptr() == tensor.data_ptr() &&
             other.numel() == tensor.numel();
    });
    put(std::to_string(known - tensors.begin()));
    put(std::string("cpu"));
    put(tensor.numel());
    text += "tQ";
    put(int64_t{0});
    put(tensor.sizes());
    put(tensor.strides());
    put(false);
    text += "ccollections\nOrderedDict\n)RtR";
    if (known == tensors.end()) tensors.push_back(tensor);
  }

  static std::string storage_type(torch::ScalarType type) {
    switch (type) {
      case torch::kFloat64:
        return "DoubleStorage";
      case torch::kFloat32:
        return "FloatStorage";
      case torch::kFloat16:
        return "HalfStorage";
      case torch::kBFloat16:
        return "BFloat16Storage";
      case torch::kInt64:
        return "LongStorage";
      case torch::kInt32:
        return "IntStorage";
      case torch::kInt16:
        return "ShortStorage";
      case torch::kInt8:
        return "CharStorage";
      case torch::kUInt8:
        return "ByteStorage";
      case torch::kBool:
        return "BoolStorage";
      default:
        fail("a tensor of type {} cannot be written to a .pt file", c10::toString(type));
    }
  }
};

}  // namespace

void write_torch_file(const std::filesystem::path& path, const PickleValue& value) {
  PickleWriter pickle;
  pickle.write(value);
  pickle.text += '.';
  auto temporary = path;
  temporary += ".tmp";
  try {
    {
      caffe2::serialize::PyTorchStreamWriter writer(temporary.string());
      writer.writeRecord("data.pkl", pickle.text.data(), pickle.text.size());
      writer.writeRecord("byteorder", "little", 6);
      for (size_t i = 0; i < pickle.tensors.size(); ++i) {
        const auto& tensor = pickle.tensors[i];
        writer.writeRecord("data/" + std::to_string(i), tensor.data_ptr(), tensor.nbytes());
      }
      writer.writeEndOfFile();
    }
    std::filesystem::rename(temporary, path);
  } catch (const std::exception& error) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    const std::string text = error.what();
    fail("{}: cannot be written: {}", path.string(), text.substr(0, text.find('\n')));
  }
}

}  // namespace evomoe
