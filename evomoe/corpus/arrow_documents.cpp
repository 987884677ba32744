// The only file that knows Arrow. EVOMOE_HAS_ARROW: it is there (cmake/arrow.cmake).
#include "evomoe/corpus/arrow_documents.h"

#include "evomoe/base/error.h"
#include "evomoe/base/mapped_file.h"
#include "evomoe/text/text_lines.h"

#ifdef EVOMOE_HAS_ARROW

#include <arrow/api.h>
#include <arrow/io/api.h>
#include <arrow/ipc/api.h>
#include <parquet/arrow/reader.h>
#include <parquet/file_reader.h>
#include <parquet/properties.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace evomoe {
namespace {

constexpr const char* kUnreadable =
    "it was cut off, is damaged or is something else; copy it again, or make it again";

/// What Arrow says, which may have line ends.
std::string one_line(std::string_view text) {
  return replaced(std::string(strip(text)), "\n", " ");
}

/// Throws what Arrow says of a failure, no Error yet: who catches it adds the file, and how far it
/// was read.
void check(const arrow::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.message());
}

template <typename T>
T value_of(arrow::Result<T> result) {
  check(result.status());
  return std::move(result).ValueUnsafe();
}

bool holds_strings(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::STRING:
    case arrow::Type::LARGE_STRING:
    case arrow::Type::STRING_VIEW:
      return true;
    case arrow::Type::DICTIONARY:
      return holds_strings(*static_cast<const arrow::DictionaryType&>(type).value_type());
    default:
      return false;
  }
}

/// The number of the text's column.
int column_of(const arrow::Schema& schema, const std::string& column,
              const std::filesystem::path& path) {
  std::string there;
  for (const auto& field : schema.fields()) {
    there += fmt::format("{}{} ({})", there.empty() ? "" : ", ", field->name(),
                         field->type()->ToString());
  }
  const auto found = schema.GetAllFieldIndices(column);
  EVOMOE_CHECK(!found.empty(),
               "{}: it has no column `{}`; name one of these with --text-column: {}", path.string(),
               column, there.empty() ? "(it has none)" : there);
  EVOMOE_CHECK(found.size() == 1,
               "{}: it has {} columns of the name `{}`; which one is meant "
               "cannot be known",
               path.string(), found.size(), column);
  const auto& type = *schema.field(found.front())->type();
  EVOMOE_CHECK(holds_strings(type),
               "{}: the column `{}` holds {}, not strings; name another one with --text-column: {}",
               path.string(), column, type.ToString(), there);
  return found.front();
}

/// That a column leads to no memory but its own. The text itself may be anything: a row that is not
/// UTF-8 is a bad one, no bad file.
arrow::Status validate_column(const arrow::Array& array) {
  if (array.type_id() == arrow::Type::DICTIONARY) {
    const auto& coded = static_cast<const arrow::DictionaryArray&>(array);
    ARROW_RETURN_NOT_OK(coded.indices()->ValidateFull());
    return validate_column(*coded.dictionary());
  }
  const auto bytes = array.type_id() == arrow::Type::STRING         ? arrow::binary()
                     : array.type_id() == arrow::Type::LARGE_STRING ? arrow::large_binary()
                                                                    : arrow::binary_view();
  ARROW_ASSIGN_OR_RAISE(const auto view, array.View(bytes));
  return view->ValidateFull();
}

/// The text of row `row` of a column, or false for null.
bool text_of_row(const arrow::Array& array, int64_t row, std::string_view& text) {
  if (array.IsNull(row)) return false;
  switch (array.type_id()) {
    case arrow::Type::STRING:
      text = static_cast<const arrow::StringArray&>(array).GetView(row);
      return true;
    case arrow::Type::LARGE_STRING:
      text = static_cast<const arrow::LargeStringArray&>(array).GetView(row);
      return true;
    case arrow::Type::STRING_VIEW:
      text = static_cast<const arrow::StringViewArray&>(array).GetView(row);
      return true;
    case arrow::Type::DICTIONARY: {
      const auto& coded = static_cast<const arrow::DictionaryArray&>(array);
      const auto value = coded.GetValueIndex(row);
      EVOMOE_CHECK(value >= 0 && value < coded.dictionary()->length(),
                   "row {} of a batch has value {} of a dictionary of {}", row + 1, value,
                   coded.dictionary()->length());
      return text_of_row(*coded.dictionary(), value, text);
    }
    default:
      fail("a column of type {} holds no strings", array.type()->ToString());
  }
}

/// The texts of one column of batches of rows, which a derived class gives.
class ColumnOfText : public DocumentReader {
 public:
  explicit ColumnOfText(const std::filesystem::path& path)
      : path_(path), file_bytes_(static_cast<int64_t>(std::filesystem::file_size(path))) {}

  DocumentKind kind() const override { return DocumentKind::kRecords; }

  bool next(DocumentPiece& piece) override {
    piece.bytes.clear();
    piece.ends.clear();
    try {
      while (has_room(piece) && has_row()) append_row(piece);
      piece.file_position = file_position();
    } catch (const std::exception& error) {  // Arrow throws, too, where its data is none
      fail("{}: behind row {} Arrow cannot read it ({}): {}", path_.string(), rows_,
           one_line(error.what()), kUnreadable);
    }
    return !piece.ends.empty();
  }
  int64_t for_each(const DocumentPiece& piece, const TextFunction& document,
                   std::vector<BadRow>& bad) const override {
    return for_each_text(piece, document, bad);
  }
  std::string where(int64_t row) const override {
    return fmt::format("{}: row {}", path_.string(), row);
  }

 protected:
  /// The column of the next batch; null behind the last one.
  virtual std::shared_ptr<arrow::Array> next_column() = 0;
  /// Bytes of the file that were read: by the rows, where it says how many it has.
  virtual int64_t file_position() const {
    const auto share =
        static_cast<double>(rows_) / static_cast<double>(std::max<int64_t>(rows_in_all_, 1));
    return static_cast<int64_t>(static_cast<double>(file_bytes_) * std::min(share, 1.0));
  }

  const std::filesystem::path path_;
  int64_t rows_in_all_ = 0;

 private:
  static bool has_room(const DocumentPiece& piece) {
    constexpr size_t kMostRows = 1 << 18;
    return static_cast<int64_t>(piece.bytes.size()) < kPieceBytes && piece.ends.size() < kMostRows;
  }
  /// Goes on to the next batch where this one is at its end; false behind the last row.
  bool has_row() {
    while (!column_ || row_ == column_->length()) {
      column_ = next_column();
      row_ = 0;
      if (!column_) return false;
    }
    return true;
  }
  void append_row(DocumentPiece& piece) {
    std::string_view text;
    const bool has_text = text_of_row(*column_, row_++, text);
    piece.bytes += text;
    piece.ends.push_back(has_text ? static_cast<int64_t>(piece.bytes.size()) : -1);
    ++rows_;
  }

  int64_t file_bytes_;
  int64_t rows_ = 0;  ///< read so far
  int64_t row_ = 0;   ///< of column_, the next one
  std::shared_ptr<arrow::Array> column_;
};

class ParquetText : public ColumnOfText {
 public:
  ParquetText(const std::filesystem::path& path, const std::string& column) : ColumnOfText(path) {
    auto properties = parquet::default_reader_properties();
    properties.enable_buffered_stream();  // page by page: a row group may be large
    properties.set_buffer_size(1 << 18);
    parquet::arrow::FileReaderBuilder builder;
    check(builder.OpenFile(path.string(), /*memory_map=*/false, properties));
    const auto metadata = builder.raw_reader()->metadata();
    rows_in_all_ = metadata->num_rows();
    parquet::ArrowReaderProperties how(/*use_threads=*/false);
    how.set_pre_buffer(false);
    file_ = value_of(builder.properties(how)->Build());
    std::shared_ptr<arrow::Schema> schema;
    check(file_->GetSchema(&schema));
    column_of(*schema, column, path);
    // Strings are leaves, so that the path of the leaf is the column's name.
    const int leaf = metadata->schema()->ColumnIndex(column);
    EVOMOE_CHECK(leaf >= 0, "{}: the column `{}` has no data of its own", path.string(), column);
    std::vector<int> groups;
    int64_t text_bytes = 0;
    for (int group = 0; group < metadata->num_row_groups(); ++group) {
      groups.push_back(group);
      text_bytes += metadata->RowGroup(group)->ColumnChunk(leaf)->total_uncompressed_size();
    }
    // About a piece at a time.
    const auto bytes_of_row = std::max<int64_t>(text_bytes / std::max<int64_t>(rows_in_all_, 1), 1);
    file_->set_batch_size(std::clamp<int64_t>(kPieceBytes / bytes_of_row, 1, 1 << 16));
    batches_ = value_of(file_->GetRecordBatchReader(groups, {leaf}));
  }

 protected:
  std::shared_ptr<arrow::Array> next_column() override {
    const auto batch = value_of(batches_->Next());
    return batch ? batch->column(0) : nullptr;
  }

 private:
  std::unique_ptr<parquet::arrow::FileReader> file_;
  std::unique_ptr<arrow::RecordBatchReader> batches_;
};

/// An Arrow file, which begins with ARROW1, or a stream of record batches.
class ArrowText : public ColumnOfText {
 public:
  ArrowText(const std::filesystem::path& path, const std::string& column) : ColumnOfText(path) {
    const MappedFile mapped(path);
    const auto magic = mapped.bytes().substr(0, 6);
    EVOMOE_CHECK(!magic.starts_with("FEA1"),
                 "{}: this is Feather of version 1; write it again as version 2 "
                 "(pyarrow.feather.write_feather), or as Parquet",
                 path.string());
    source_ = value_of(arrow::io::MemoryMappedFile::Open(path.string(), arrow::io::FileMode::READ));
    is_file_ = magic == "ARROW1";
    // Once to learn the columns, and again to read one alone.
    arrow::ipc::IpcReadOptions options;
    options.use_threads = false;
    options.included_fields = {column_of(*open(options), column, path)};
    open(options);
    if (is_file_) rows_in_all_ = value_of(file_->CountRows());
  }

 protected:
  std::shared_ptr<arrow::Array> next_column() override {
    std::shared_ptr<arrow::RecordBatch> batch;
    if (!is_file_) {
      batch = value_of(stream_->Next());
    } else if (batch_ < file_->num_record_batches()) {
      batch = value_of(file_->ReadRecordBatch(batch_++));
    }
    if (!batch) return nullptr;
    check(validate_column(*batch->column(0)));
    return batch->column(0);
  }
  int64_t file_position() const override {
    return is_file_ ? ColumnOfText::file_position() : value_of(source_->Tell());
  }

 private:
  std::shared_ptr<arrow::Schema> open(const arrow::ipc::IpcReadOptions& options) {
    if (is_file_) {
      file_ = value_of(arrow::ipc::RecordBatchFileReader::Open(source_, options));
      return file_->schema();
    }
    check(source_->Seek(0));
    stream_ = value_of(arrow::ipc::RecordBatchStreamReader::Open(source_.get(), options));
    return stream_->schema();
  }

  std::shared_ptr<arrow::io::MemoryMappedFile> source_;
  bool is_file_ = false;
  std::shared_ptr<arrow::ipc::RecordBatchFileReader> file_;
  std::shared_ptr<arrow::ipc::RecordBatchStreamReader> stream_;
  int batch_ = 0;
};

template <typename Reader>
std::unique_ptr<DocumentReader> open_column(const std::filesystem::path& path,
                                            const std::string& column) {
  EVOMOE_CHECK(!MappedFile(path).bytes().empty(), "{}: the file is empty: {}", path.string(),
               kUnreadable);
  try {
    return std::make_unique<Reader>(path, column);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    fail("{}: Arrow cannot read it ({}): {}", path.string(), one_line(error.what()), kUnreadable);
  }
}

}  // namespace

bool has_arrow() { return true; }

std::unique_ptr<DocumentReader> open_parquet(const std::filesystem::path& path,
                                             const std::string& column) {
  return open_column<ParquetText>(path, column);
}

std::unique_ptr<DocumentReader> open_arrow(const std::filesystem::path& path,
                                           const std::string& column) {
  return open_column<ArrowText>(path, column);
}

}  // namespace evomoe

#else

namespace evomoe {
namespace {

[[noreturn]] void refuse_without_arrow(const std::filesystem::path& path) {
  const MappedFile there(path);
  fail(
      "{}: this program was built without Arrow, which reads Parquet and Arrow files; run "
      "scripts/setup.sh (it installs pyarrow into .venv) and build again, or write the text as "
      "JSON "
      "lines: python3 -c \"import pandas; pandas.read_parquet('{}').to_json('{}.jsonl', "
      "orient='records', lines=True)\"",
      path.string(), path.string(), path.stem().string());
}

}  // namespace

bool has_arrow() { return false; }

std::unique_ptr<DocumentReader> open_parquet(const std::filesystem::path& path,
                                             const std::string& /*column*/) {
  refuse_without_arrow(path);
}

std::unique_ptr<DocumentReader> open_arrow(const std::filesystem::path& path,
                                           const std::string& /*column*/) {
  refuse_without_arrow(path);
}

}  // namespace evomoe

#endif
