#include "evomoe/base/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

TEST(MappedFile, ChangesOfItsBytesAreItsOwn) {
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "file", "as it was");
  MappedFile file(folder / "file");
  file.own_bytes()[0] = 'A';
  EXPECT_EQ(file.bytes(), "As it was");
  EXPECT_EQ(testing::read_text(folder / "file"), "as it was");
}

/// The system would not promise so much memory (Linux' heuristic, vm.overcommit_memory=0).
TEST(MappedFile, MayBeLargerThanMemory) {
  int policy = -1;
  std::ifstream("/proc/sys/vm/overcommit_memory") >> policy;
  if (policy != 0) GTEST_SKIP() << "vm.overcommit_memory is " << policy;
  struct sysinfo memory {};
  ASSERT_EQ(sysinfo(&memory), 0);
  const auto size = 2 * (uintmax_t{memory.totalram} + memory.totalswap) * memory.mem_unit;
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "file", "begins");
  std::error_code error;
  std::filesystem::resize_file(folder / "file", size, error);
  if (error) GTEST_SKIP() << "no file of " << size << " bytes without data: " << error.message();
  MappedFile file(folder / "file");
  auto* bytes = file.own_bytes();
  bytes[0] = 'B';
  bytes[size - 1] = 'e';
  EXPECT_EQ(file.bytes().substr(0, 6), "Begins");
  EXPECT_EQ(file.bytes().back(), 'e');
}

TEST(MappedFile, OnlyARegularFileIsRead) {
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
