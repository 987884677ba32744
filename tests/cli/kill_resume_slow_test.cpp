// A whole run that is killed again and again, and resumed each time, ends as if nothing had
// happened.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <random>
#include <sstream>

#include "evomoe/report/run_log.h"
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

/// Starts the program with `arguments` (words between spaces), its output thrown away.
pid_t start(const std::string& arguments) {
  std::vector<std::string> words = {testing::program().string()};
  std::istringstream stream(arguments);
  for (std::string word; stream >> word;) words.push_back(word);
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    const int null = ::open("/dev/null", O_RDWR);
    for (int descriptor = 0; descriptor < 3; ++descriptor) ::dup2(null, descriptor);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  return child;
}

/// Whether a checkpoint is being written: it has a temporary name.
bool is_writing(const fs::path& folder) {
  std::error_code gone;
  for (fs::directory_iterator entry(folder, gone), end; entry != end; entry.increment(gone)) {
    const auto name = entry->path().filename().string();
    if (name.front() == '.' && name != ".lock") return true;
  }
  return false;
}

/// What a run's log says of its updates and validations, without the speed of the machine.
std::vector<std::string> numbers(const fs::path& log) {
  std::vector<std::string> lines;
  for (const auto& line : read_run_log(log)) {
    std::string text;
    for (const auto* key : {"tag", "completed_updates", "loss", "gnorm", "lr", "valid_loss",
                            "train_loss", "stage", "active_experts"}) {
      if (line.contains(key)) text += fmt::format("{}={} ", key, line.at(key).dump());
    }
    lines.push_back(text);
  }
  return lines;
}

struct Killing {
  std::string optimizer;
  int kills, updates;
};

class KilledRun : public Commands, public ::testing::WithParamInterface<Killing> {};

TEST_P(KilledRun, EndsBitIdenticalToOneThatWasNeverKilled) {
  const int kKills = GetParam().kills;
  const auto arguments = [&](const std::string& run) {
    return train_arguments(run) + evolution() +
           fmt::format("--optimizer {} --max-update {} ", GetParam().optimizer,
                       GetParam().updates) +
           "--dropout 0.1 --shared-expert-updates 100 --gumbel-decay-factor 200 "
           "--switch-to-hard-gumbel-softmax 300 --validate-interval-updates 50 --max-valid-steps 2 "
           "--log-interval 1 --save-interval-updates 3 --keep-interval-updates 2 "
           "--no-epoch-checkpoints --symlink --write-checkpoints-asynchronously ";
  };
  ASSERT_EQ(evomoe(arguments("whole")).exit_code, 0);

  const auto run = folder_ / "killed";
  std::mt19937 random(7);
  int killed = 0, killed_while_writing = 0;
  for (; killed < kKills; ++killed) {
    std::error_code absent;
    const auto size = fs::exists(run / "log.jsonl") ? fs::file_size(run / "log.jsonl") : 0;
    const pid_t child = start(arguments("killed"));
    int status = 0;
    bool ended = false;
    const auto wait_until = [&](const auto& condition) {
      while (!condition() && !ended) ended = ::waitpid(child, &status, WNOHANG) == child;
    };
    // Half of them after a few more updates (a line of the log each), the others within a
    // checkpoint's writing. Both are counted in work, not in time.
    const auto bytes = size + 2000 + random() % 20'000;
    wait_until([&] {
      return fs::exists(run / "log.jsonl") && fs::file_size(run / "log.jsonl", absent) > bytes;
    });
    if (killed % 2 == 1) wait_until([&] { return is_writing(run); });
    ASSERT_FALSE(ended) << "the run was over after " << killed << " kills; make it longer";
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    killed_while_writing += is_writing(run) ? 1 : 0;
  }
  EXPECT_EQ(killed, kKills);
  EXPECT_GT(killed_while_writing, 0);
  ASSERT_EQ(evomoe(arguments("killed")).exit_code, 0);
  EXPECT_EQ(model_file("killed"), model_file("whole"));
  EXPECT_EQ(optimizer_file("killed"), optimizer_file("whole"));
  EXPECT_EQ(numbers(run / "log.jsonl"), numbers(folder_ / "whole/log.jsonl"));
}

INSTANTIATE_TEST_SUITE_P(Optimizers, KilledRun,
                         ::testing::Values(Killing{"adam", 24, 900}, Killing{"adafactor", 8, 600},
                                           Killing{"muon", 8, 600}),
                         [](const auto& info) { return info.param.optimizer; });

}  // namespace
}  // namespace evomoe
