#include "evomoe/corpus/documents.h"

#include "evomoe/corpus/arrow_documents.h"
#include "evomoe/corpus/input_files.h"
#include "evomoe/corpus/json_documents.h"
#include "evomoe/corpus/line_documents.h"
#include "evomoe/corpus/megatron_documents.h"
#include "evomoe/text/text_lines.h"

namespace evomoe {
namespace {

/// A text file: each line is a document.
class TextLines : public LineDocuments {
 public:
  TextLines(const std::filesystem::path& path, bool utf8) : LineDocuments(path), utf8_(utf8) {}

  DocumentKind kind() const override { return DocumentKind::kLines; }
  int64_t for_each(const DocumentPiece& piece, const TextFunction& document,
                   std::vector<BadRow>& bad) const override {
    int64_t rows = 0;
    for_each_line(piece.bytes, [&](std::string_view line) {
      ++rows;
      if (utf8_ && !is_utf8(line)) {
        bad.push_back({rows, kNotUtf8});
      } else {
        document(line);
      }
    });
    return rows;
  }

 private:
  bool utf8_;
};

}  // namespace

int64_t for_each_text(const DocumentPiece& piece, const TextFunction& document,
                      std::vector<BadRow>& bad) {
  int64_t rows = 0;
  int64_t begin = 0;
  for (const int64_t end : piece.ends) {
    ++rows;
    if (end < 0) {
      bad.push_back({rows, "it has no text (null)"});
      continue;
    }
    const auto text = std::string_view(piece.bytes).substr(begin, end - begin);
    begin = end;
    if (is_utf8(text)) {
      document(text);
    } else {
      bad.push_back({rows, "its text is not UTF-8"});
    }
  }
  return rows;
}

std::unique_ptr<DocumentReader> open_documents(const std::filesystem::path& path,
                                               const DocumentOptions& options) {
  switch (format_of(path)) {
    case InputFormat::kJsonLines:
      return open_json_lines(path, options.text_column);
    case InputFormat::kParquet:
      return open_parquet(path, options.text_column);
    case InputFormat::kArrow:
      return open_arrow(path, options.text_column);
    case InputFormat::kMegatron:
      return open_megatron(path, options.megatron_eod);
    case InputFormat::kText:
      break;
  }
  return std::make_unique<TextLines>(path, options.utf8_lines);
}

}  // namespace evomoe
