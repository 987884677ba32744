// Whether Arrow works: text goes into a Parquet file in memory and comes out of it
// (cmake/arrow.cmake).
#include <arrow/api.h>
#include <arrow/io/api.h>
#include <arrow/ipc/api.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/writer.h>
#include <parquet/file_reader.h>

#include <cstdio>
#include <string>

namespace {

arrow::Status round_trip() {
  arrow::StringBuilder builder;
  ARROW_RETURN_NOT_OK(builder.Append("text"));
  ARROW_RETURN_NOT_OK(builder.AppendNull());
  ARROW_ASSIGN_OR_RAISE(const auto column, builder.Finish());
  const auto table =
      arrow::Table::Make(arrow::schema({arrow::field("text", arrow::utf8())}), {column});
  ARROW_ASSIGN_OR_RAISE(const auto sink, arrow::io::BufferOutputStream::Create());
  ARROW_RETURN_NOT_OK(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), sink, 1));
  ARROW_ASSIGN_OR_RAISE(const auto bytes, sink->Finish());
  parquet::arrow::FileReaderBuilder opened;
  ARROW_RETURN_NOT_OK(opened.Open(std::make_shared<arrow::io::BufferReader>(bytes)));
  const parquet::ArrowReaderProperties properties(/*use_threads=*/false);
  ARROW_ASSIGN_OR_RAISE(const auto file, opened.properties(properties)->Build());
  ARROW_ASSIGN_OR_RAISE(const auto batches, file->GetRecordBatchReader({0, 1}, {0}));
  ARROW_ASSIGN_OR_RAISE(const auto batch, batches->Next());
  const auto& text = static_cast<const arrow::StringArray&>(*batch->column(0));
  if (text.GetView(0) != "text") return arrow::Status::Invalid("the text is another one");
  ARROW_ASSIGN_OR_RAISE(const auto view, column->View(arrow::binary()));
  return view->ValidateFull();
}

}  // namespace

int main() {
  const auto status = round_trip();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
