#include "evomoe/corpus/corpus.h"

#include "evomoe/base/error.h"
#include "evomoe/base/mapped_file.h"
#include "evomoe/text/text_lines.h"

namespace evomoe {

std::string Corpus::name() const { return files_.empty() ? "" : files_.front().string(); }

int64_t Corpus::file_bytes() const {
  int64_t bytes = 0;
  for (const auto& file : files_) bytes += static_cast<int64_t>(MappedFile(file).bytes().size());
  return bytes;
}

void Corpus::check() const {
  bool empty = true;
  for (const auto& file : files_) {
    empty = empty && MappedFile(file).bytes().empty();
    const auto reader = open_documents(file, options_);
    if (reader->kind() == DocumentKind::kLines)
      warn_of_byte_order_mark(reader->beginning(), file.string());
  }
  EVOMOE_CHECK(!empty, "{}: it is empty; a split needs at least one line", name());
}

Corpus Corpus::operator+(const Corpus& other) const {
  auto sum = *this;
  sum.files_.insert(sum.files_.end(), other.files_.begin(), other.files_.end());
  return sum;
}

int64_t Corpus::for_each_item(const Piece& piece, const TextFunction& item,
                              std::vector<BadRow>& bad) const {
  const bool split = document_lines_ && piece.reader->kind() == DocumentKind::kRecords;
  if (!split) return piece.reader->for_each(piece.piece, item, bad);
  const auto lines_of = [&](std::string_view document) {
    for_each_line(document, [&](std::string_view line) {
      if (!strip(line).empty()) item(line);
    });
    item({});
  };
  return piece.reader->for_each(piece.piece, lines_of, bad);
}

void Corpus::add_bad_rows(const Piece& piece, int64_t rows_before,
                          const std::vector<BadRow>& bad) const {
  for (const auto& [row, reason] : bad) {
    const auto where = piece.reader->where(rows_before + row);
    EVOMOE_CHECK(bad_rows_ != nullptr, "{}: {}", where, reason);
    bad_rows_->add(files_[piece.file].string(), rows_before + row, where, reason);
  }
}

Corpus::Pieces::Pieces(const Corpus& corpus, bool utf8_lines)
    : corpus_(corpus), options_(corpus.options_) {
  options_.utf8_lines = utf8_lines;
}

bool Corpus::Pieces::next(Piece& piece) {
  while (true) {
    if (!reader_) {
      if (file_ == corpus_.files_.size()) return false;
      reader_ = open_documents(corpus_.files_[file_++], options_);
    }
    if (reader_->next(piece.piece)) break;
    reader_ = nullptr;
  }
  piece.reader = reader_;
  piece.file = file_ - 1;
  return true;
}

}  // namespace evomoe
