#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace evomoe {

/// About as much is read, and worked on by a thread, at a time.
inline constexpr int64_t kPieceBytes = 2 << 20;

/// What the documents of a file are.
enum class DocumentKind {
  kLines,     ///< lines of text
  kRecords,   ///< texts that may have several lines each
  kTokenIds,  ///< decimal numbers of tokens between spaces, and `</s>`
};

/// A part of a file, as it was read.
struct DocumentPiece {
  std::string bytes;          ///< lines, or texts one behind the other
  std::vector<int64_t> ends;  ///< where each text ends in `bytes`; -1: the row has no text
  int64_t file_position = 0;  ///< bytes of the file that have been read up to its end
};

/// A row of which no document can be made.
struct BadRow {
  int64_t row = 0;     ///< from 1
  std::string reason;  ///< `"text" is null; ...`
};

using TextFunction = std::function<void(std::string_view)>;

/// The documents of a file, piece by piece.
class DocumentReader {
 public:
  virtual ~DocumentReader() = default;

  virtual DocumentKind kind() const = 0;
  /// Reads the next piece; false behind the last one.
  virtual bool next(DocumentPiece& piece) = 0;
  /// Calls `document` for each document of a piece, and adds each bad row, with its number within
  /// the piece. Returns the number of rows. Safe to call from several threads.
  virtual int64_t for_each(const DocumentPiece& piece, const TextFunction& document,
                           std::vector<BadRow>& bad) const = 0;
  /// The place of a row of the file: `news.jsonl:3`.
  virtual std::string where(int64_t row) const = 0;
  /// The first bytes of a file of lines; until next() is called.
  virtual std::string_view beginning() const { return {}; }
};

struct DocumentOptions {
  std::string text_column = "text";  ///< of JSON, Parquet and Arrow
  /// The token that ends a document of a Megatron dataset.
  std::optional<int64_t> megatron_eod = std::nullopt;
  bool utf8_lines = true;  ///< a line that is not UTF-8 is a bad row
};

/// Opens a file; its name says what it is (docs/data.md). An Error names a file that cannot be read
/// and what to do.
std::unique_ptr<DocumentReader> open_documents(const std::filesystem::path& path,
                                               const DocumentOptions& options);

/// DocumentReader::for_each of a piece of texts (those with `ends`).
int64_t for_each_text(const DocumentPiece& piece, const TextFunction& document,
                      std::vector<BadRow>& bad);

}  // namespace evomoe
