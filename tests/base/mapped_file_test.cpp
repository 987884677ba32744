#include "evomoe/base/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

TEST(MappedFiles, OnlyARegularFileIsRead) {
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "x", "text");
  EXPECT_EQ(MappedFile(folder / "x").bytes(), "text");
  expect_error([&] { const MappedFile file(folder / "none"); }, {"none", "check the path"});
  expect_error([&] { const MappedFile file(folder.path()); }, {"a folder; name a file"});
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  expect_error([&] { const MappedFile file(folder / "pipe"); }, {"pipe", "not a regular file"});
}

}  // namespace
}  // namespace evomoe
