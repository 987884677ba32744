#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "evomoe/corpus/documents.h"
#include "evomoe/corpus/line_pieces.h"

namespace evomoe {

/// The documents of a file of lines, which may be compressed; a derived class makes them of the
/// lines.
class LineDocuments : public DocumentReader {
 public:
  bool next(DocumentPiece& piece) override {
    const bool read = lines_.next(piece.bytes);
    piece.file_position = lines_.stream().position();
    return read;
  }
  std::string where(int64_t row) const override {
    return fmt::format("{}:{}", lines_.stream().path().string(), row);
  }
  std::string_view beginning() const override { return lines_.beginning(); }

 protected:
  explicit LineDocuments(const std::filesystem::path& path) : lines_(path) {}

 private:
  LinePieces lines_;
};

}  // namespace evomoe
