#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "evomoe/base/ordered_pipeline.h"
#include "evomoe/corpus/bad_rows.h"
#include "evomoe/corpus/documents.h"

namespace evomoe {

/// Calls its argument for each item of a piece.
using EachItem = std::function<void(const TextFunction&)>;

/// Files of documents, read one after the other as one text.
class Corpus {
 public:
  Corpus() = default;
  /// One file.
  Corpus(const std::filesystem::path& file) : files_{file} {}  // NOLINT: a file is a corpus
  /// `document_lines`: an item for each line of a document that is not empty, and an empty one
  /// behind the document, as text files for `--sample-break-mode complete_doc` have it; otherwise a
  /// document is an item. `bad_rows` must outlive it; null: they are Errors.
  Corpus(std::vector<std::filesystem::path> files, DocumentOptions options,
         bool document_lines = false, BadRows* bad_rows = nullptr)
      : files_(std::move(files)),
        options_(std::move(options)),
        document_lines_(document_lines),
        bad_rows_(bad_rows) {}

  const std::vector<std::filesystem::path>& files() const { return files_; }
  /// The first file, for messages.
  std::string name() const;
  /// As they are stored.
  int64_t file_bytes() const;
  /// Opens each file: what cannot be read is an Error before any work. Warns of byte order marks.
  void check() const;
  /// The files of this corpus and then those of another one, read alike.
  Corpus operator+(const Corpus& other) const;

  struct ReadOptions {
    int threads = 1;
    bool utf8_lines = true;                          ///< see DocumentOptions
    std::function<void(int64_t, int64_t)> progress;  ///< bytes of the files: done, in all
  };
  /// Reads all: `work(kind, each_item)` runs in several threads, each on a part of a file, and
  /// `done` gets what it returned, in order, on the calling thread.
  template <typename Result>
  void read(const ReadOptions& options,
            const std::function<Result(DocumentKind, const EachItem&)>& work,
            const std::function<void(Result&)>& done) const;

 private:
  struct Piece {
    DocumentPiece piece;
    std::shared_ptr<DocumentReader> reader;
    size_t file = 0;
  };
  template <typename Result>
  struct Worked {
    Result result;
    int64_t rows = 0;
    std::vector<BadRow> bad;
  };
  /// Gives the pieces of all files.
  class Pieces;

  /// Calls `item` for each item of a piece; rows and bad rows are counted.
  int64_t for_each_item(const Piece& piece, const TextFunction& item,
                        std::vector<BadRow>& bad) const;
  void add_bad_rows(const Piece& piece, int64_t rows_before, const std::vector<BadRow>& bad) const;

  std::vector<std::filesystem::path> files_;
  DocumentOptions options_;
  bool document_lines_ = false;
  BadRows* bad_rows_ = nullptr;
};

class Corpus::Pieces {
 public:
  Pieces(const Corpus& corpus, bool utf8_lines);
  bool next(Piece& piece);

 private:
  const Corpus& corpus_;
  DocumentOptions options_;
  std::shared_ptr<DocumentReader> reader_;
  size_t file_ = 0;  ///< the one that is opened next
};

template <typename Result>
void Corpus::read(const ReadOptions& options,
                  const std::function<Result(DocumentKind, const EachItem&)>& work,
                  const std::function<void(Result&)>& done) const {
  using Pipeline = OrderedPipeline<Piece, Worked<Result>>;
  Pieces pieces(*this, options.utf8_lines);
  const int64_t bytes_in_all = file_bytes();
  size_t file = 0;
  int64_t rows_before = 0;   // of the file at hand
  int64_t bytes_before = 0;  // of the files before it
  const typename Pipeline::Work work_on = [&](const Piece& piece) {
    Worked<Result> worked;
    worked.result = work(piece.reader->kind(), [&](const TextFunction& item) {
      worked.rows = for_each_item(piece, item, worked.bad);
    });
    return worked;
  };
  const typename Pipeline::Done collect = [&](const Piece& piece, Worked<Result>& worked) {
    for (; file < piece.file; ++file) {
      bytes_before += static_cast<int64_t>(std::filesystem::file_size(files_[file]));
      rows_before = 0;
    }
    add_bad_rows(piece, rows_before, worked.bad);
    rows_before += worked.rows;
    done(worked.result);
    if (options.progress) options.progress(bytes_before + piece.piece.file_position, bytes_in_all);
  };
  Pipeline::run(
      options.threads, [&](Piece& piece) { return pieces.next(piece); }, work_on, collect);
}

}  // namespace evomoe
