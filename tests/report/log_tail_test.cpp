#include "evomoe/report/log_tail.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <vector>

#include "evomoe/base/error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::ThrowsMessage;

class LogTailTest : public ::testing::Test {
 protected:
  void append(const std::string& text) {
    std::ofstream(path_, std::ios::app | std::ios::binary) << text;
  }
  static std::string line(int update) {
    return fmt::format(R"({{"tag": "train_inner", "completed_updates": {}}})", update) + "\n";
  }
  /// The updates of the lines that have come.
  std::vector<int64_t> read() {
    std::vector<int64_t> updates;
    tail_.read([&](const auto& value) { updates.push_back(value.at("completed_updates")); },
               [&] { ++restarts_; });
    return updates;
  }

  testing::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "log.jsonl";
  LogTail tail_{path_};
  int restarts_ = 0;
};

TEST_F(LogTailTest, GivesEachLineOnceAsTheLogGrows) {
  EXPECT_THAT(read(), IsEmpty()) << "there is no file yet";
  append(line(1) + line(2));
  EXPECT_THAT(read(), ElementsAre(1, 2));
  EXPECT_THAT(read(), IsEmpty());
  append(line(3));
  EXPECT_THAT(read(), ElementsAre(3));
  EXPECT_EQ(restarts_, 0);
}

TEST_F(LogTailTest, WaitsForTheRestOfALine) {
  const auto next = line(2);
  append(line(1) + next.substr(0, 20));
  EXPECT_THAT(read(), ElementsAre(1));
  EXPECT_TRUE(tail_.cut());
  append(next.substr(20));
  EXPECT_THAT(read(), ElementsAre(2));
  EXPECT_FALSE(tail_.cut());
}

TEST_F(LogTailTest, BeginsAnewWithAFileThatTookThePlaceOfTheOther) {
  append(line(1) + line(2) + line(3));
  read();
  // As a run does that goes on from a checkpoint.
  testing::write_text(folder_ / "new", line(1) + line(2) + line(8) + line(9));
  std::filesystem::rename(folder_ / "new", path_);
  EXPECT_THAT(read(), ElementsAre(1, 2, 8, 9));
  EXPECT_EQ(restarts_, 1);
}

TEST_F(LogTailTest, OnlyTheLastLineMayBeBroken) {
  append(line(1) + "{\"tag\n");
  EXPECT_THAT(read(), ElementsAre(1));
  EXPECT_TRUE(tail_.cut());
  append(line(3));
  EXPECT_THAT([&] { read(); }, ThrowsMessage<Error>(HasSubstr("log.jsonl:2")));
}

}  // namespace
}  // namespace evomoe
