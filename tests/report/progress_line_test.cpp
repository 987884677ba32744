#include "evomoe/report/progress_line.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <unistd.h>

#include <algorithm>

#include "tests/testing/paths.h"

namespace evomoe {
namespace {

Progress sample_progress() {
  Progress progress;
  progress.label = "evomoe";
  progress.update = 500;
  progress.last_update = 2000;
  progress.loss = 5.1234;
  progress.tokens_per_second = 12345;
  progress.temperature = 1.25;
  progress.active_experts_per_token = 3.4;
  progress.stage = "dense-to-sparse";
  progress.elapsed_seconds = 100;
  return progress;
}

TEST(ProgressText, ShowsEverythingOfAnEvolutionInATerminalOf100Columns) {
  const auto text = progress_text(sample_progress(), 99);
  EXPECT_EQ(text,
            "evomoe 500/2000 | dense-to-sparse | loss 5.12 bits | 12.3k tok/s | τ 1.25 | 3.40 "
            "experts | ETA 5:00");
  EXPECT_EQ(progress_text(sample_progress(), 1000), text);
}

TEST(ProgressText, ALongNameIsLeftOutBeforeAnythingElse) {
  auto progress = sample_progress();
  progress.label = "a_run_folder_with_a_name_that_is_longer_than_all_the_rest_of_the_line";
  const auto text = progress_text(progress, 1000);
  EXPECT_TRUE(text.starts_with("update 500/2000 | dense-to-sparse | ")) << text;
  progress.label.clear();
  EXPECT_EQ(progress_text(progress, 1000), text);
}

TEST(ProgressText, NoStageIsShownWhereThereIsNone) {
  auto progress = sample_progress();
  progress.stage.clear();
  progress.temperature.reset();
  progress.active_experts_per_token.reset();
  EXPECT_EQ(progress_text(progress, 99),
            "evomoe 500/2000 | loss 5.12 bits | 12.3k tok/s | ETA 5:00");
}

TEST(ProgressText, NeverExceedsTheTerminalAndKeepsWhatMattersMost) {
  for (const int64_t updates : {500, 50000}) {
    auto progress = sample_progress();
    progress.update = updates;
    progress.last_update = 4 * updates;
    for (int width = 20; width < 130; ++width) {
      const auto text = progress_text(progress, width);
      // One letter is two bytes long.
      EXPECT_LE(text.size(), static_cast<size_t>(std::min(width, 100)) + 1) << text;
      EXPECT_NE(text.find(fmt::format("{}/{}", updates, 4 * updates)), std::string::npos);
    }
  }
  EXPECT_EQ(progress_text(sample_progress(), 45), "evomoe 500/2000 | loss 5.12 bits | ETA 5:00");
}

TEST(ProgressText, EtaCountsOnlyWhatThisProcessDid) {
  auto progress = sample_progress();
  progress.first_update = 400;
  EXPECT_NE(progress_text(progress, 200).find("ETA 25:00"), std::string::npos);
  progress.first_update = 500;
  EXPECT_EQ(progress_text(progress, 200).find("ETA"), std::string::npos) << "nothing is known yet";
}

TEST(DurationText, IsShortAtEveryScale) {
  EXPECT_EQ(duration_text(5), "0:05");
  EXPECT_EQ(duration_text(75), "1:15");
  EXPECT_EQ(duration_text(4000), "1:06:40");
  EXPECT_EQ(duration_text(200000), "2 d 07:33");
  EXPECT_EQ(duration_text(-1), "?");
}

TEST(ProgressLine, WritesNothingWhereThereIsNoTerminal) {
  testing::TemporaryFolder folder;
  const auto path = folder / "stderr";
  std::FILE* file = std::fopen(path.c_str(), "w");
  {
    ProgressLine line(true, file);
    EXPECT_FALSE(line.live());
    line.show(sample_progress());
    line.clear();
  }
  std::fclose(file);
  EXPECT_EQ(testing::read_text(path), "");
}

TEST(ProgressLine, RewritesOneLineOfATerminalAndClearsIt) {
  int leader = -1, follower = -1;
  if (openpty(&leader, &follower, nullptr, nullptr, nullptr) != 0)
    GTEST_SKIP() << "no pseudo-terminal here";
  std::FILE* file = fdopen(follower, "w");
  {
    ProgressLine line(true, file);
    ASSERT_TRUE(line.live());
    line.show(sample_progress());
    line.show(sample_progress());
  }
  std::fclose(file);
  std::string text;
  char buffer[256];
  for (ssize_t size; (size = ::read(leader, buffer, sizeof(buffer))) > 0;)
    text.append(buffer, static_cast<size_t>(size));
  ASSERT_GT(text.size(), 4U);
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_NE(text.find("\r\x1b[Kevomoe 500/2000"), std::string::npos) << text;
  EXPECT_EQ(text.substr(text.size() - 4), "\r\x1b[K");
  ::close(leader);
}

}  // namespace
}  // namespace evomoe
