// What of event files must hold without TensorBoard; scripts/tensorboard_test.py reads them with
// it.
#include "evomoe/report/event_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "evomoe/base/error.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

class EventFileTest : public ::testing::Test {
 protected:
  /// A file with a value after each of 10, 20 and 30 updates.
  void write_run(int64_t resume_update = 0) {
    EventFile file(folder.path(), resume_update);
    for (const int64_t update : {10, 20, 30}) {
      if (update > resume_update) file.write(update, loss());
    }
  }
  static EventSummary loss() {
    EventSummary summary;
    summary.scalar("loss", 9.5);
    return summary;
  }
  std::vector<fs::path> files() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder.path())) found.push_back(entry.path());
    std::ranges::sort(found);
    return found;
  }
  /// The lengths of the data of each record.
  static std::vector<uint64_t> records(const fs::path& path) {
    const auto bytes = testing::read_text(path);
    std::vector<uint64_t> lengths;
    for (size_t at = 0; at < bytes.size(); at += lengths.back() + 16) {
      uint64_t length = 0;
      std::memcpy(&length, bytes.data() + at, sizeof(length));
      lengths.push_back(length);
    }
    return lengths;
  }

  testing::TemporaryFolder folder;
};

TEST_F(EventFileTest, TheChecksumIsThatOfItsStandard) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(crc32c(""), 0U);
}

TEST_F(EventFileTest, AnEventIsARecordThatIsInTheFileAtOnce) {
  EventFile file(folder.path(), 0);
  ASSERT_EQ(files().size(), 1U);
  EXPECT_THAT(files()[0].filename().string(), ::testing::StartsWith("events.out.tfevents."));
  EXPECT_EQ(records(files()[0]).size(), 2U);  // the version, the beginning
  file.write(10, loss());
  EXPECT_EQ(records(files()[0]).size(), 3U);
}

TEST_F(EventFileTest, WhatIsLaterThanTheCheckpointIsCutOff) {
  write_run();
  cut_event_files(folder.path(), 20);
  EXPECT_EQ(records(files()[0]).size(), 4U);
  write_run(20);
  ASSERT_EQ(files().size(), 2U);  // the later one by its name as well
  EXPECT_EQ(records(files()[1]).size(), 3U);
  // Back to before the second file began.
  cut_event_files(folder.path(), 10);
  EXPECT_EQ(records(files()[0]).size(), 3U);
  EXPECT_EQ(records(files()[1]).size(), 2U);
}

TEST_F(EventFileTest, ARecordThatACrashCutOffIsDropped) {
  write_run();
  const auto whole = testing::read_text(files()[0]);
  const auto last = records(files()[0]).back() + 16;
  for (size_t missing = 1; missing < last; ++missing) {
    testing::write_text(files()[0], whole.substr(0, whole.size() - missing));
    cut_event_files(folder.path(), 30);
    EXPECT_EQ(testing::read_text(files()[0]), whole.substr(0, whole.size() - last));
  }
}

TEST_F(EventFileTest, ADamagedByteIsAnErrorThatNamesItsPlace) {
  write_run();
  const auto whole = testing::read_text(files()[0]);
  const auto first = records(files()[0])[0] + 16;
  for (size_t at = 0; at < first; ++at) {
    auto bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
    testing::write_text(files()[0], bytes);
    expect_error([&] { cut_event_files(folder.path(), 30); },
                 {files()[0].string(), "the event at byte 0 is damaged"});
    EXPECT_EQ(testing::read_text(files()[0]), bytes);
  }
}

TEST_F(EventFileTest, FilesThatAreMovedAsideAreOursAlone) {
  write_run();
  testing::write_text(folder / "events.out.tfevents.1.host", "");
  EXPECT_TRUE(has_foreign_event_files(folder.path()));
  EXPECT_EQ(move_event_files_aside(folder.path()), 1U);
  write_run();
  EXPECT_EQ(move_event_files_aside(folder.path()), 1U);
  EXPECT_TRUE(fs::exists(folder / "events.1"));
  EXPECT_TRUE(fs::exists(folder / "events.2"));
  EXPECT_TRUE(fs::exists(folder / "events.out.tfevents.1.host"));
}

}  // namespace
}  // namespace evomoe
