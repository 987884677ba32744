#include "evomoe/checkpoint/torch_file.h"

#include <caffe2/serialize/inline_container.h>

#include <fstream>

#include "evomoe/base/error.h"
#include "evomoe/checkpoint/pickle_reader.h"

namespace evomoe {

PickleValue read_torch_file(const std::filesystem::path& path) {
  const auto name = path.string();
  char magic[4] = {};
  std::ifstream file(path, std::ios::binary);
  EVOMOE_CHECK(file && std::filesystem::is_regular_file(path), "{}: cannot be opened as a file",
               name);
  file.read(magic, sizeof magic);
  EVOMOE_CHECK(std::string_view(magic, 2) == "PK",
               "{}: is no zip file of torch.save (files of before PyTorch 1.6 are not read); load "
               "and save it again with a recent PyTorch",
               name);
  try {
    caffe2::serialize::PyTorchStreamReader reader(name);
    EVOMOE_CHECK(reader.hasRecord("data.pkl"), "{}: has no data.pkl; it is no file of torch.save",
                 name);
    if (reader.hasRecord("byteorder")) {
      const auto [order, order_size] = reader.getRecord("byteorder");
      EVOMOE_CHECK(std::string_view(static_cast<const char*>(order.get()), order_size) == "little",
                   "{}: was written on a big-endian machine; save it again on another", name);
    }
    const StorageReader storage = [&](const std::string& key, torch::ScalarType type,
                                      int64_t elements) {
      const auto record = "data/" + key;
      EVOMOE_CHECK(reader.hasRecord(record), "{}: storage {} is missing", name, record);
      auto [data, size] = reader.getRecord(record);
      // Divided, since the product could overflow.
      const auto width = static_cast<int64_t>(torch::elementSize(type));
      EVOMOE_CHECK(
          static_cast<int64_t>(size) / width == elements && static_cast<int64_t>(size) % width == 0,
          "{}: storage {} has {} bytes, expected {} elements of {}", name, record, size, elements,
          width);
      if (elements == 0) return torch::empty({0}, type);
      return torch::from_blob(data.get(), {elements}, type).clone();
    };
    const auto [pickle, size] = reader.getRecord("data.pkl");
    return read_pickle({static_cast<const char*>(pickle.get()), size}, name, storage);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    const std::string text = error.what();
    fail("{}: damaged: {}", name, text.substr(0, text.find('\n')));
  }
}

}  // namespace evomoe
