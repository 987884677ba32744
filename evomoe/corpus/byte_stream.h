#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>

#include "evomoe/base/mapped_file.h"

namespace evomoe {

/// How a file is compressed, by the ending of its name: `.gz` and `.zst`.
enum class Compression { kNone, kGzip, kZstd };

Compression compression_of(const std::filesystem::path& path);

/// `path` without the ending that says how it is compressed: `train.jsonl` of `train.jsonl.zst`.
std::filesystem::path without_compression(const std::filesystem::path& path);

/// The bytes of a file, decompressed, from its beginning to its end. Memory does not grow with the
/// file.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;

  /// Reads `size` bytes; fewer only at the end. An Error names a file whose data is damaged or cut
  /// off.
  virtual size_t read(char* out, size_t size) = 0;
  /// Bytes of the file, as it is stored, that have been read.
  virtual int64_t position() const = 0;

  int64_t file_bytes() const { return static_cast<int64_t>(file_.bytes().size()); }
  const std::filesystem::path& path() const { return file_.path(); }

 protected:
  explicit ByteStream(const std::filesystem::path& path) : file_(path) {}
  std::string_view bytes() const { return file_.bytes(); }
  /// Lets go of the pages that were read, now and then.
  void forget_pages();

 private:
  MappedFile file_;
  int64_t forgotten_ = 0;
};

/// Opens a file: as it is, by gzip (also of several members), or by Zstandard (also of several
/// frames). An Error names a file that cannot be read, or is not what its name says.
std::unique_ptr<ByteStream> open_bytes(const std::filesystem::path& path);

}  // namespace evomoe
