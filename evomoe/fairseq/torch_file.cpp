#include "evomoe/fairseq/torch_file.h"

#include <caffe2/serialize/inline_container.h>

#include <fstream>

#include "evomoe/base/error.h"
#include "evomoe/fairseq/pickle_reader.h"

namespace evomoe {

namespace {

/// By its first bytes: what else has the name of a file of torch.save.
void check_format(const std::filesystem::path& path) {
  const auto name = path.string();
  std::ifstream file(path, std::ios::binary);
  EVOMOE_CHECK(file && std::filesystem::is_regular_file(path), "{}: cannot be opened as a file",
               name);
  std::string magic(9, '\0');
  file.read(magic.data(), static_cast<std::streamsize>(magic.size()));
  magic.resize(static_cast<size_t>(file.gcount()));
  EVOMOE_CHECK(!magic.empty(), "{}: is empty", name);
  if (magic.starts_with("PK")) return;
  EVOMOE_CHECK(
      !magic.starts_with("\x80\x02"),
      "{}: is a pickle without a zip file around it, as torch.save wrote it before PyTorch "
      "1.6, which is not read; load and save it again with a recent PyTorch",
      name);
  EVOMOE_CHECK(magic.size() < 9 || magic[8] != '{',
               "{}: is a safetensors file, not one of torch.save; `evomoe train` takes its weights "
               "with --init-from",
               name);
  fail("{}: is no file of torch.save: it does not begin as a zip file does; check the path", name);
}

}  // namespace

PickleValue read_torch_file(const std::filesystem::path& path, const PicklePaths& wanted) {
  check_format(path);
  const auto name = path.string();
  try {
    caffe2::serialize::PyTorchStreamReader reader(name);
    const auto file_size = std::filesystem::file_size(path);
    const auto get = [&](const std::string& record) {
      EVOMOE_CHECK(reader.hasRecord(record), "{}: {} is missing in it", name, record);
      const auto bytes = reader.getRecordSize(record);
      EVOMOE_CHECK(
          bytes <= file_size,
          "{}: {} has {} bytes, more than the file of {}, and torch.save does not compress; "
          "load the file and save it again",
          name, record, bytes, file_size);
      return reader.getRecord(record);
    };
    EVOMOE_CHECK(reader.hasRecord("data.pkl"), "{}: has no data.pkl; it is no file of torch.save",
                 name);
    if (reader.hasRecord("byteorder")) {
      const auto [order, order_size] = get("byteorder");
      EVOMOE_CHECK(
          std::string_view(static_cast<const char*>(order.get()), order_size) == "little",
          "{}: its byte order is not little-endian; save it again on a machine that has it", name);
    }
    const StorageReader storage = [&](const std::string& key, torch::ScalarType type,
                                      int64_t elements) {
      const auto record = "data/" + key;
      auto [data, size] = get(record);
      // Divided, since the product could overflow.
      const auto width = static_cast<int64_t>(torch::elementSize(type));
      EVOMOE_CHECK(
          static_cast<int64_t>(size) / width == elements && static_cast<int64_t>(size) % width == 0,
          "{}: storage {} has {} bytes, expected {} elements of {}", name, record, size, elements,
          width);
      if (elements == 0) return torch::empty({0}, type);
      return torch::from_blob(data.get(), {elements}, type).clone();
    };
    const auto [pickle, size] = get("data.pkl");
    return read_pickle({static_cast<const char*>(pickle.get()), size}, name, storage, wanted);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    const std::string text = error.what();
    fail("{}: cannot be read: {}", name, text.substr(0, text.find('\n')));
  }
}

}  // namespace evomoe
