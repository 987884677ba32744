// Parquet and Arrow files as pyarrow writes them.
#include "evomoe/corpus/arrow_documents.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "evomoe/corpus/corpus.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using Texts = std::vector<std::string>;

constexpr const char* kMakeFiles = R"(
import sys
import pyarrow as pa, pyarrow.parquet as pq, pyarrow.feather as feather, pyarrow.ipc as ipc
folder = sys.argv[1] + "/"
texts = ["one", "", "two\nlines", "äöü \U0001f600"]
def table(type=pa.string(), values=texts):
    return pa.table({"id": pa.array(range(len(values))), "text": pa.array(values, type=type)})
def stream(name, data):
    with ipc.new_stream(folder + name, data.schema) as file: file.write_table(data)
def arrow(name, data, **options):
    with ipc.new_file(folder + name, data.schema, **options) as file:
        file.write_table(data, max_chunksize=3)
for name, type in ("string", pa.string()), ("large", pa.large_string()), ("view", pa.string_view()), \
                  ("coded", pa.dictionary(pa.int8(), pa.string())):
    arrow(name + ".arrow", table(type))
    stream(name + "_stream.arrow", table(type))
    if name != "view":
        pq.write_table(table(type), folder + name + ".parquet", row_group_size=3)
        feather.write_feather(table(type), folder + name + ".feather")
pq.write_table(table(), folder + "zstd.parquet", compression="zstd")
arrow("lz4.arrow", table(), options=ipc.IpcWriteOptions(compression="lz4"))
pq.write_table(table(values=["a", None, "c", None]), folder + "nulls.parquet", row_group_size=1)
arrow("nulls.arrow", table(pa.dictionary(pa.int32(), pa.string()), ["a", None, "c", None]))
pq.write_table(table(values=[]), folder + "empty.parquet")
arrow("empty.arrow", table(values=[]))
stream("empty_stream.arrow", table(values=[]))
bad = pa.array([b"a", b"\xff", b"c"]).view(pa.string())
pq.write_table(pa.table({"text": bad}), folder + "latin1.parquet")
arrow("latin1.arrow", pa.table({"text": bad}))
pq.write_table(pa.table({"id": [1], "body": ["b"], "n.m": ["nested"]}), folder + "other.parquet")
pq.write_table(pa.table({"text": [[1, 2]]}), folder + "list.parquet")
arrow("list.arrow", pa.table({"text": [[1, 2]]}))
many = ["row %d of many" % i for i in range(300000)]
pq.write_table(table(values=many), folder + "many.parquet", row_group_size=70000)
arrow("many.arrow", table(values=many))
for name, new in ("thousands.arrow", ipc.new_file), ("many_stream.arrow", ipc.new_stream):
    with new(folder + name, table().schema) as file:
        file.write_table(table(values=many), max_chunksize=1000)
pq.write_table(pa.table({"text": many}), folder + "column.parquet", compression="zstd", use_dictionary=False,
               row_group_size=70000)
)";

/// Files in a folder of the suite, made once.
class ArrowFiles : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!has_arrow()) return;
    folder_ = new testing::TemporaryFolder;
    testing::write_text(*folder_ / "make.py", kMakeFiles);
    const auto made = testing::run_command(fmt::format("{} {} {}", testing::python().string(),
                                                       at("make.py"), folder_->path().string()));
    problem_ = made.exit_code == 0 ? "" : made.err;
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  void SetUp() override {
    if (!has_arrow()) GTEST_SKIP() << "this build has no Arrow (scripts/setup.sh)";
    if (problem_.find("No module named 'pyarrow'") != std::string::npos ||
        problem_.find("not found") != std::string::npos)
      GTEST_SKIP() << "no pyarrow in " << testing::python();
    ASSERT_EQ(problem_, "");
  }
  static std::string at(const std::string& name) { return (*folder_ / name).string(); }
  static Texts read(const std::string& name, const std::string& column = "text",
                    BadRows* bad_rows = nullptr, int threads = 1) {
    Texts all;
    const auto collect = [](DocumentKind kind, const EachItem& each_item) {
      EXPECT_EQ(kind, DocumentKind::kRecords);
      Texts texts;
      each_item([&](std::string_view text) { texts.emplace_back(text); });
      return texts;
    };
    Corpus({at(name)}, {.text_column = column}, false, bad_rows)
        .read<Texts>({.threads = threads}, collect,
                     [&](Texts& part) { all.insert(all.end(), part.begin(), part.end()); });
    return all;
  }
  static testing::TemporaryFolder* folder_;
  static std::string problem_;
};

testing::TemporaryFolder* ArrowFiles::folder_ = nullptr;
std::string ArrowFiles::problem_;

TEST_F(ArrowFiles, GiveTheTextsOfTheColumnWhateverHoldsThem) {
  const Texts expected = {"one", "", "two\nlines", "äöü 😀"};
  for (const char* name :
       {"string.parquet", "large.parquet", "coded.parquet", "zstd.parquet", "string.arrow",
        "large.arrow", "view.arrow", "coded.arrow", "lz4.arrow", "string_stream.arrow",
        "large_stream.arrow", "view_stream.arrow", "coded_stream.arrow", "string.feather",
        "large.feather", "coded.feather"})
    EXPECT_EQ(read(name), expected) << name;
  EXPECT_EQ(read("other.parquet", "body"), (Texts{"b"}));
  EXPECT_EQ(read("other.parquet", "n.m"), (Texts{"nested"}));
}

TEST_F(ArrowFiles, AreReadInPiecesByAnyNumberOfThreads) {
  for (const char* name : {"many.parquet", "many.arrow", "many_stream.arrow", "column.parquet"}) {
    const auto rows = read(name, "text", nullptr, 3);
    ASSERT_EQ(rows.size(), 300'000u) << name;
    for (const int row : {0, 69'999, 70'000, 299'999})
      EXPECT_EQ(rows[row], fmt::format("row {} of many", row));
  }
}

TEST_F(ArrowFiles, ANullIsABadRowWithItsNumber) {
  for (const char* name : {"nulls.parquet", "nulls.arrow"}) {
    expect_error([&] { read(name); }, {name, ": row 2: ", "null"});
    BadRows bad_rows(/*skip=*/true);
    EXPECT_EQ(read(name, "text", &bad_rows), (Texts{"a", "c"}));
    EXPECT_EQ(bad_rows.count(), 2);
  }
  for (const char* name : {"latin1.parquet", "latin1.arrow"}) {
    BadRows bad_rows(/*skip=*/true);
    EXPECT_EQ(read(name, "text", &bad_rows), (Texts{"a", "c"}));
    expect_error([&] { read(name); }, {": row 2: ", "UTF-8"});
  }
}

TEST_F(ArrowFiles, MayHaveNoRow) {
  for (const char* name : {"empty.parquet", "empty.arrow", "empty_stream.arrow"})
    EXPECT_EQ(read(name), Texts{}) << name;
}

TEST_F(ArrowFiles, AColumnThatIsNotThereOrHoldsNoStringsIsRefusedWithThoseThatAre) {
  for (const char* name : {"string.parquet", "string.arrow", "string_stream.arrow"}) {
    expect_error([&] { read(name, "content"); },
                 {name, "no column `content`", "id (int64), text (string)", "--text-column"});
    expect_error([&] { read(name, "id"); }, {name, "`id` holds int64"});
  }
  expect_error([&] { read("list.parquet"); }, {"`text` holds list"});
  expect_error([&] { read("list.arrow"); }, {"`text` holds list"});
}

TEST_F(ArrowFiles, WhatIsCutOffOrSomethingElseIsRefused) {
  for (const std::string name : {"string.parquet", "string.arrow", "string_stream.arrow"}) {
    const auto bytes = testing::read_text(at(name));
    const auto ending = std::filesystem::path(name).extension().string();
    const auto cut = "cut" + ending;
    for (const size_t size : {size_t{0}, size_t{3}, bytes.size() / 2}) {
      testing::write_text(at(cut), bytes.substr(0, size));
      expect_error([&] { read(cut); }, {cut, "copy it again"});
    }
    testing::write_text(at(cut), "{\"text\": \"this is no such file\"}\n");
    expect_error([&] { read(cut); }, {cut, "something else"});
  }
  testing::write_text(at("old.feather"), "FEA1 and so on");
  expect_error([&] { read("old.feather"); }, {"version 1"});
  expect_error([&] { read("none.parquet"); }, {"none.parquet", "cannot open"});
}

TEST_F(ArrowFiles, APieceSaysHowMuchOfTheFileWasRead) {
  for (const char* name : {"many.parquet", "many.arrow", "many_stream.arrow"}) {
    SCOPED_TRACE(name);
    const auto size = static_cast<int64_t>(std::filesystem::file_size(at(name)));
    const auto reader = std::string_view(name).ends_with("parquet") ? open_parquet(at(name), "text")
                                                                    : open_arrow(at(name), "text");
    std::vector<int64_t> positions;
    for (DocumentPiece piece; reader->next(piece);) positions.push_back(piece.file_position);
    ASSERT_GE(positions.size(), 3u);
    EXPECT_TRUE(std::is_sorted(positions.begin(), positions.end()));
    EXPECT_GT(positions.front(), size / 10);
    EXPECT_LT(positions.front(), size * 6 / 10) << "the first of " << positions.size();
    EXPECT_GT(positions.back(), size * 9 / 10);
    EXPECT_LE(positions.back(), size);
  }
}

TEST_F(ArrowFiles, WhatIsDamagedInsideIsNamedOnceWithTheRowThatWasReached) {
  for (const std::string name : {"column.parquet", "thousands.arrow", "many_stream.arrow"}) {
    SCOPED_TRACE(name);
    auto bytes = testing::read_text(at(name));
    const bool parquet = name.ends_with("parquet");
    // Arrow's texts are plain, and in front of those of a batch lies where each of them ends. (The
    // batch before may be filled up with what follows its own texts.)
    const size_t begin = parquet ? bytes.size() / 2 : bytes.rfind("row 150000 of many") - 1500;
    ASSERT_LT(begin, bytes.size() - 1000);
    bytes.replace(begin, 1000, std::string(1000, '\xff'));
    const auto damaged = "damaged" + std::filesystem::path(name).extension().string();
    testing::write_text(at(damaged), bytes);
    const auto read_all = [&] { read(damaged); };
    expect_named_once(read_all, damaged);
    expect_named_once(read_all, "copy it again");
    // How far a Parquet file is read ahead is Arrow's choice; all before it was read.
    std::string message;
    try {
      read_all();
    } catch (const Error& error) {
      message = error.what();
    }
    EXPECT_EQ(message.find("behind row 0 "), std::string::npos) << message;
    expect_error(read_all, {parquet ? "behind row " : "behind row 150000 "});
  }
  // So is what cannot be opened.
  for (const char* name : {"cut.parquet", "cut.arrow"}) {
    testing::write_text(at(name), "ARROW1 and no more, nor is it Parquet");
    expect_named_once([&] { read(name); }, name);
    expect_named_once([&] { read(name); }, "copy it again");
  }
}

TEST(WithoutArrow, AParquetFileIsRefusedWithWhatToDo) {
  if (has_arrow()) GTEST_SKIP() << "this build has Arrow";
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "x.parquet", "PAR1");
  expect_error([&] { open_parquet(folder / "x.parquet", "text"); },
               {"x.parquet", "without Arrow", "scripts/setup.sh"});
  expect_error([&] { open_arrow(folder / "x.parquet", "text"); }, {"without Arrow"});
}

}  // namespace
}  // namespace evomoe
