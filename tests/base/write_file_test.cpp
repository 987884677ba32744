#include "evomoe/base/write_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>

#include "evomoe/base/error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(WriteFile, ReplacesTheFileOnlyOnceTheNewOneIsComplete) {
  const testing::TemporaryFolder folder;
  const auto path = folder / "file";
  write_file(path, [](std::ostream& stream) { stream << "old"; });
  const auto fails_half_way = [&](std::ostream& stream) {
    stream << "half";
    EXPECT_EQ(testing::read_text(path), "old");
    fail("no more");
  };
  EXPECT_THAT([&] { write_file(path, fails_half_way); },
              ThrowsMessage<Error>(HasSubstr("no more")));
  EXPECT_EQ(testing::read_text(path), "old");
  EXPECT_FALSE(fs::exists(temporary_of(path)));
  write_file(path, [](std::ostream& stream) { stream << "new"; });
  EXPECT_EQ(testing::read_text(path), "new");
}

TEST(WriteFile, WritesThroughALinkAndNamesWhatCannotBeWritten) {
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "real", "old");
  fs::create_symlink("real", folder / "link");
  write_file(folder / "link", [](std::ostream& stream) { stream << "new"; });
  EXPECT_EQ(testing::read_text(folder / "real"), "new");
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_THAT([&] { write_file(folder / "none/file", [](std::ostream&) {}); },
              ThrowsMessage<Error>(HasSubstr("none/file")));
}

TEST(WriteFile, CopiesAnEmptyFileAndAFileOntoItself) {
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "empty", "");
  testing::write_text(folder / "text", std::string("a\0b\n", 4));
  for (const auto* name : {"empty", "text"}) {
    copy_file_to(folder / name, folder / "copy");
    EXPECT_EQ(testing::read_text(folder / "copy"), testing::read_text(folder / name));
    copy_file_to(folder / "copy", folder / "copy");
    EXPECT_EQ(testing::read_text(folder / "copy"), testing::read_text(folder / name));
  }
  EXPECT_THAT([&] { copy_file_to(folder / "none", folder / "copy"); },
              ThrowsMessage<Error>(HasSubstr("cannot read")));
  EXPECT_THAT([&] { copy_file_to(folder.path(), folder / "copy"); },
              ThrowsMessage<Error>(HasSubstr("cannot read")));
}

}  // namespace
}  // namespace evomoe
