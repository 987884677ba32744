#include "evomoe/corpus/line_pieces.h"

#include <algorithm>
#include <array>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/corpus/documents.h"

namespace evomoe {
namespace {

constexpr size_t kBeginning = 4096;

/// What no text begins with.
constexpr std::array<std::pair<std::string_view, const char*>, 6> kOtherFormats = {{
    {"\x1f\x8b", "gzip"},
    {"\x28\xb5\x2f\xfd", "Zstandard"},
    {"\xfd\x37\x7a\x58\x5a", "xz"},
    {"PK\x03\x04", "zip"},
    {"PAR1\x15", "Parquet"},
    {std::string_view("ARROW1\0\0", 8), "Arrow"},
}};

/// Position behind the last end of a line of which it is known that it is one: a \r that ends the
/// text may have its \n still to come. 0: there is none.
size_t behind_last_line(std::string_view text) {
  for (size_t at = text.size(); at-- > 0;) {
    if (text[at] == '\n') return at + 1;
    if (text[at] == '\r' && at + 1 < text.size()) return at + 1;
  }
  return 0;
}

}  // namespace

LinePieces::LinePieces(const std::filesystem::path& path) : stream_(open_bytes(path)) {
  rest_.resize(kBeginning);
  rest_.resize(stream_->read(rest_.data(), rest_.size()));
  for (const auto& [magic, format] : kOtherFormats) {
    EVOMOE_CHECK(
        !beginning().starts_with(magic),
        "{}: {} holds {} data, which is read as text by its name; give it the name of what "
        "it is, or unpack it",
        path.string(), compression_of(path) == Compression::kNone ? "it" : "unpacked, it", format);
  }
}

bool LinePieces::next(std::string& piece) {
  piece.assign(rest_);
  rest_.clear();
  while (true) {
    const size_t had = piece.size();
    // Twice as much of a line that is longer.
    const size_t wanted = std::max<size_t>(kPieceBytes, had);
    piece.resize(had + wanted);
    const size_t got = stream_->read(piece.data() + had, wanted);
    piece.resize(had + got);
    if (got < wanted) return !piece.empty();
    if (const size_t end = behind_last_line(piece); end > 0) {
      rest_.assign(piece, end);
      piece.resize(end);
      return true;
    }
  }
}

}  // namespace evomoe
