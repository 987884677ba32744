#include "evomoe/corpus/input_files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using Names = std::vector<std::string>;

class InputFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_ / "in/deep");
    std::filesystem::create_directories(folder_ / "in/folder.txt");
    for (const char* name : {"b.jsonl.gz", "a.txt", "deep/c.parquet", "README.md", "d.csv.gz",
                             "e.jsonl.zst", "deep/train.idx", "f.arrow", "g.parquet.gz"})
      testing::write_text(folder_ / ("in/" + std::string(name)), "x");
  }
  /// Without the folder.
  Names files(const std::string& input) {
    Names names;
    for (const auto& file : input_files((folder_ / input).string()))
      names.push_back(file.lexically_relative(folder_.path()).string());
    return names;
  }
  testing::TemporaryFolder folder_;
};

TEST_F(InputFiles, AFileIsTakenUnderAnyName) {
  EXPECT_EQ(files("in/README.md"), (Names{"in/README.md"}));
  EXPECT_EQ(files("none"), (Names{"none"})) << "who opens it says that it is not there";
}

TEST_F(InputFiles, OfAFolderThoseWithAKnownEndingInOrder) {
  EXPECT_EQ(files("in"), (Names{"in/a.txt", "in/b.jsonl.gz", "in/deep/c.parquet", "in/e.jsonl.zst",
                                "in/f.arrow"}));
  std::filesystem::create_directories(folder_ / "other");
  expect_error([&] { files("other"); }, {"other", "none of the 0 files", ".jsonl"});
  testing::write_text(folder_ / "other/a.csv", "x");
  testing::write_text(folder_ / "other/b.csv", "x");
  expect_error([&] { files("other"); }, {"none of the 2 files"});
  testing::write_text(folder_ / "other/dict.txt", "x");
  testing::write_text(folder_ / "other/train.idx", "x");
  expect_error([&] { files("other"); }, {"other", "a folder of data", "train.idx"});
  expect_error([&] { files("other/"); }, {"a folder of data", "train.idx"});
}

TEST_F(InputFiles, ALinkOfAFolderIsTakenLikeAFile) {
  const auto link = [&](const std::string& to, const std::string& name) {
    std::filesystem::create_symlink(to, folder_ / ("links/" + name));
  };
  std::filesystem::create_directories(folder_ / "links");
  link("../in/a.txt", "a.txt");
  link("nowhere", "b.txt");  // who opens it says that it leads nowhere: its text would be missing
  link("c.txt", "c.txt");
  link("../links", "circle.txt");
  link("nowhere", "README.md");
  EXPECT_EQ(files("links"), (Names{"links/a.txt", "links/b.txt", "links/c.txt"}));
  EXPECT_EQ(files("links/circle.txt/a.txt"), (Names{"links/circle.txt/a.txt"}));
  EXPECT_EQ(files("links/c.txt"), (Names{"links/c.txt"}));
  EXPECT_EQ(input_files(std::string(5000, 'a')).size(), 1u) << "who opens it refuses it";
}

TEST_F(InputFiles, APipeOfAFolderIsIgnored) {
  std::filesystem::create_directories(folder_ / "pipes");
  ASSERT_EQ(::mkfifo((folder_ / "pipes/a.txt").c_str(), 0600), 0);
  std::filesystem::create_symlink("a.txt", folder_ / "pipes/b.txt");
  expect_error([&] { files("pipes"); }, {"none of the 2 files", "a regular file"});
  testing::write_text(folder_ / "pipes/c.txt", "x");
  EXPECT_EQ(files("pipes"), (Names{"pipes/c.txt"}));
  EXPECT_EQ(files("pipes/a.txt"), (Names{"pipes/a.txt"})) << "who opens it refuses it";
}

TEST_F(InputFiles, APatternIsReadAsTheShellDoes) {
  EXPECT_EQ(files("in/*.jsonl.*"), (Names{"in/b.jsonl.gz", "in/e.jsonl.zst"}));
  EXPECT_EQ(files("in/[ab]*"), (Names{"in/a.txt", "in/b.jsonl.gz"}));
  EXPECT_EQ(files("in/?.txt"), (Names{"in/a.txt"})) << "folders are left out";
  expect_error([&] { files("in/*.jsonx"); }, {"*.jsonx", "no file"});
  testing::write_text(folder_ / "in/[z].txt", "x");
  EXPECT_EQ(files("in/[z].txt"), (Names{"in/[z].txt"})) << "a file of that very name";
}

TEST_F(InputFiles, TheNameSaysTheFormat) {
  for (const char* name : {"a", "a.txt", "a.de", "a.gz", "a.txt.zst", "jsonl"})
    EXPECT_EQ(format_of(name), InputFormat::kText) << name;
  for (const char* name : {"a.json", "a.jsonl", "a.ndjson", "a.jsonl.gz", "a.json.zst"})
    EXPECT_EQ(format_of(name), InputFormat::kJsonLines) << name;
  EXPECT_EQ(format_of("a.parquet"), InputFormat::kParquet);
  EXPECT_EQ(format_of("a.feather"), InputFormat::kArrow);
  EXPECT_EQ(format_of("a.idx"), InputFormat::kMegatron);
  expect_error([] { format_of("a.jsonl.bz2"); }, {"a.jsonl.bz2", ".bz2", "unpack"});
  expect_error([] { format_of("a.tar.gz"); }, {".tar"});
  for (const char* name : {"a.txt.gz.gz", "a.jsonl.zst.gz", "a.gz.zst"})
    expect_error([&] { format_of(name); }, {name, "twice"});
  expect_error([] { format_of("a.parquet.gz"); }, {".parquet", "unpack"});
  testing::write_text(folder_ / "in/deep/train.bin", "x");
  expect_error([&] { format_of(folder_ / "in/deep/train.bin"); }, {"train.idx"});
}

}  // namespace
}  // namespace evomoe
