#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "evomoe/base/mapped_file.h"

/// The safetensors format: eight bytes of header length (little-endian), a JSON header, then the
/// raw tensors without gaps. Types: F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL, and U64 U32 U16 C64
/// F8_E5M2 F8_E4M3 F8_E8M0.
namespace evomoe {

using TensorMap = std::map<std::string, torch::Tensor>;

/// Size and XXH64 checksum of a file.
struct FileDigest {
  uint64_t bytes = 0;
  uint64_t checksum = 0;

  bool operator==(const FileDigest&) const = default;
};

/// Where a tensor lies in a safetensors file.
struct SafetensorsEntry {
  torch::ScalarType dtype = torch::kFloat32;
  std::vector<int64_t> shape;
  uint64_t begin = 0;  ///< first byte, counted from the end of the header
  uint64_t end = 0;    ///< one past the last byte
};

struct SafetensorsHeader {
  std::map<std::string, SafetensorsEntry> tensors;
  std::map<std::string, std::string> metadata;  ///< the `__metadata__` entry
  uint64_t data_offset = 0;                     ///< of the first tensor in the file, bytes
};

/// Writes all tensors (of any device, copied to the CPU one by one) to `path`, under a temporary
/// name that is renamed when all is on disk: a failure leaves no partial file and whatever was
/// there before. Throws Error naming the path and the cause.
FileDigest write_safetensors(const std::filesystem::path& path, const TensorMap& tensors,
                             const std::map<std::string, std::string>& metadata = {});

/// All tensors of a file, on the CPU: views of its memory-mapped pages, so that only what is used
/// is read. They may be changed, which does not change the file; while they exist the file may be
/// replaced, but must not be cut. Every violation of the format is an Error that names the file and
/// what is wrong.
TensorMap read_safetensors(const std::filesystem::path& path);
/// The same of a file whose header parse_safetensors_header() has checked.
TensorMap mapped_safetensors(const std::shared_ptr<MappedFile>& file,
                             const SafetensorsHeader& header);

/// Reads and checks only the header: names, types and shapes without the data.
SafetensorsHeader read_safetensors_header(const std::filesystem::path& path);

/// Checks the header of a whole file that lies in memory; `name` is what errors call it.
SafetensorsHeader parse_safetensors_header(std::string_view file, const std::string& name);

/// Copies the tensors out of a whole file that lies in memory.
TensorMap parse_safetensors(std::string_view file, const std::string& name);

}  // namespace evomoe
