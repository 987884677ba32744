#include "evomoe/report/run_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

class RunLogTest : public ::testing::Test {
 protected:
  /// A log of updates 0 to 30, with a validation at 20.
  void write_run() {
    auto log = RunLog::fresh(path);
    for (const int64_t update : {0, 10, 20, 30}) {
      log.append("train_inner", update, {{"loss", "9.5"}});
      if (update == 20) log.append("valid", update, {{"valid_loss", "8"}});
    }
  }

  testing::TemporaryFolder folder;
  const std::filesystem::path path = folder / "log.jsonl";
};

TEST_F(RunLogTest, EachLineIsInTheFileAtOnce) {
  auto log = RunLog::fresh(path);
  log.append("train_inner", 10, {{"epoch", 1}, {"loss", "9.284"}});
  EXPECT_EQ(
      testing::read_text(path),
      "{\"tag\": \"train_inner\", \"completed_updates\": 10, \"epoch\": 1, \"loss\": \"9.284\"}\n");
}

TEST_F(RunLogTest, AResumedRunHoldsNoLineTwice) {
  write_run();
  const auto whole = testing::read_text(path);
  {
    auto log = RunLog::resume(path, 20);
    EXPECT_EQ(read_run_log(path).size(), 4U);
    log.append("valid", 20, {{"valid_loss", "8"}});  // written before the checkpoint, and again
    log.append("train_inner", 30, {{"loss", "9.5"}});
  }
  EXPECT_EQ(testing::read_text(path), whole);
}

TEST_F(RunLogTest, ALineThatTheCrashPreventedIsWrittenAfterTheResume) {
  write_run();
  auto log = RunLog::resume(path, 30);
  log.append("valid", 30, {{"valid_loss", "7"}});
  EXPECT_EQ(read_run_log(path).back()["valid_loss"], "7");
}

TEST_F(RunLogTest, ACutLastLineIsRepairedAtEveryLength) {
  write_run();
  const auto whole = testing::read_text(path);
  const size_t last = whole.rfind('\n', whole.size() - 2) + 1;
  for (size_t size = last; size <= whole.size(); ++size) {
    testing::write_text(path, whole.substr(0, size));
    EXPECT_GE(read_run_log(path).size(), 4U);
    auto log = RunLog::resume(path, 30);
    log.append("train_inner", 30, {{"loss", "9.5"}});
    EXPECT_EQ(testing::read_text(path), whole) << size;
  }
}

TEST_F(RunLogTest, DamageElsewhereIsAnErrorWithTheLine) {
  write_run();
  auto text = testing::read_text(path);
  text[3] = '"';
  testing::write_text(path, text);
  try {
    RunLog::resume(path, 10);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("log.jsonl:1"));
  }
  EXPECT_EQ(testing::read_text(path), text) << "left as it was";
}

TEST_F(RunLogTest, ALineThatIsNestedWithoutEndIsAnErrorToo) {
  testing::write_text(path, "{\"layers\": " + std::string(100'000, '[') +
                                std::string(100'000, ']') + "}\n{\"loss\": 1}\n");
  EXPECT_THROW(read_run_log(path), Error);
}

TEST_F(RunLogTest, AForeignFileIsAnError) {
  testing::write_text(path, "{\"loss\": 1}\n{\"loss\": 2}\n");
  EXPECT_THROW(RunLog::resume(path, 10), Error);
  for (const char* line : {R"({"tag": 1, "completed_updates": 10})",
                           R"({"tag": "train", "completed_updates": "10"})"}) {
    testing::write_text(path, std::string(line) + "\n");
    EXPECT_THROW(RunLog::resume(path, 10), Error) << line;
    EXPECT_THROW(read_run_log(path), Error) << line;
  }
}

TEST_F(RunLogTest, StartsAnewOrContinuesAMissingFile) {
  write_run();
  RunLog::fresh(path);
  EXPECT_EQ(testing::read_text(path), "");
  auto log = RunLog::resume(folder / "other.jsonl", 5);
  log.append("stage", 6, {{"stage", "sparse"}});
  EXPECT_EQ(read_run_log(log.path()).size(), 1U);
}

TEST_F(RunLogTest, AnUnwritableFolderIsAnErrorWithThePath) {
  try {
    RunLog::fresh(folder / "missing" / "log.jsonl");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("missing/log.jsonl"));
    EXPECT_THAT(error.what(), HasSubstr("No such file"));
  }
}

TEST_F(RunLogTest, AFullDiskIsAnError) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  auto log = RunLog::fresh("/dev/full");
  EXPECT_THROW(log.append("train", 1, {}), Error);
}

TEST_F(RunLogTest, KeysOfEveryLineCannotBeOverwritten) {
  auto log = RunLog::fresh(path);
  EXPECT_THROW(log.append("train", 1, {{"tag", "x"}}), Error);
}

TEST_F(RunLogTest, NumbersAreReadFromStringsToo) {
  const nlohmann::ordered_json line = {
      {"loss", "9.284"}, {"update", 0.5}, {"stage", "sparse"}, {"none", nullptr}};
  EXPECT_EQ(log_number(line, "loss"), 9.284);
  EXPECT_EQ(log_number(line, "update"), 0.5);
  EXPECT_EQ(log_number(line, "stage"), std::nullopt);
  EXPECT_EQ(log_number(line, "none"), std::nullopt);
  EXPECT_EQ(log_number(line, "missing"), std::nullopt);
}

}  // namespace
}  // namespace evomoe
