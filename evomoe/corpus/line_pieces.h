#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "evomoe/corpus/byte_stream.h"

namespace evomoe {

/// A file of lines (which may be compressed) in pieces of some megabytes. Memory does not grow with
/// the file, only with its longest line.
class LinePieces {
 public:
  /// Reads the beginning, so that an Error names what is no such file at once, and what would be
  /// read as text but is not: a file that is compressed (once more), Parquet, Arrow.
  explicit LinePieces(const std::filesystem::path& path);

  /// Whole lines, by the rules of for_each_line; only the last line of the file may lack its end.
  /// False behind the last piece.
  bool next(std::string& piece);

  /// The first bytes of the file; until next() is called.
  std::string_view beginning() const { return rest_; }
  const ByteStream& stream() const { return *stream_; }

 private:
  std::unique_ptr<ByteStream> stream_;
  std::string rest_;
};

}  // namespace evomoe
