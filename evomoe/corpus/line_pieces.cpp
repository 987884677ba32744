#include "evomoe/corpus/line_pieces.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "evomoe/base/error.h"
#include "evomoe/corpus/documents.h"

namespace evomoe {
namespace {

constexpr size_t kBeginning = 4096;

struct OtherFormat {
  std::string_view begins;  ///< as no text does
  const char* name;
  const char* remedy;
};

constexpr std::array<OtherFormat, 6> kOtherFormats = {{
    {"\x1f\x8b", "gzip", "add .gz to its name, or unpack it with `gzip -dc`"},
    {"\x28\xb5\x2f\xfd", "Zstandard", "add .zst to its name, or unpack it with `zstd -dc`"},
    {"\xfd\x37\x7a\x58\x5a", "xz", "unpack it with `xz -dc`"},
    {"PK\x03\x04", "zip", "unpack it with `unzip`, and name the files that were in it"},
    {"PAR1\x15", "Parquet", "add .parquet to its name, or write it as JSON lines"},
    {std::string_view("ARROW1\0\0", 8), "Arrow",
     "add .arrow to its name, or write it as JSON lines"},
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
  const bool is_packed = compression_of(path) != Compression::kNone;
  for (const auto& format : kOtherFormats) {
    EVOMOE_CHECK(!beginning().starts_with(format.begins),
                 "{}: {} holds {} data, which is read as text by its name; {}{}", path.string(),
                 is_packed ? "unpacked, it" : "it", format.name,
                 is_packed ? "unpack it, and for what comes out: " : "", format.remedy);
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
