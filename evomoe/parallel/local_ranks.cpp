#include "evomoe/parallel/local_ranks.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/base/temporary_folder.h"
#include "evomoe/parallel/process_group.h"
#include "evomoe/parallel/start_program.h"

namespace evomoe {
namespace {

using Clock = std::chrono::steady_clock;

/// After a rank has failed: until SIGTERM, and from there until SIGKILL. One that still computes
/// fails by itself, in its next operation with the others.
constexpr std::chrono::seconds kGrace{20}, kLastGrace{10};

/// More only keep each other waiting.
constexpr int64_t kMostPerCore = 16;

constexpr std::string_view kFile = "file://";

/// The signals that run_local_ranks() waits for, held back while this lives.
class HeldSignals {
 public:
  HeldSignals() {
    sigemptyset(&set_);
    for (const int signal : {SIGINT, SIGTERM, SIGCHLD}) sigaddset(&set_, signal);
    sigprocmask(SIG_BLOCK, &set_, &before_);
  }
  ~HeldSignals() { sigprocmask(SIG_SETMASK, &before_, nullptr); }
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;

  const sigset_t& before() const { return before_; }
  /// The next one; nothing within half a second.
  std::optional<int> next() const {
    const timespec half_a_second = {0, 500'000'000};
    const int signal = sigtimedwait(&set_, nullptr, &half_a_second);
    return signal > 0 ? std::optional<int>(signal) : std::nullopt;
  }

 private:
  sigset_t set_{}, before_{};
};

ProgramVariables variables_of(const RankPlan& plan, int64_t number,
                              const std::string& init_method) {
  return {{"RANK", std::to_string(plan.first.rank + number)},
          {"WORLD_SIZE", std::to_string(plan.first.size)},
          {"LOCAL_RANK", std::to_string(number)},
          {"LOCAL_WORLD_SIZE", std::to_string(plan.processes)},
          {kInitMethodVariable, init_method}};
}

struct LocalRank {
  int64_t rank;
  pid_t process;
  bool ended = false;
  bool stopped = false;  ///< by a signal: it will not end by itself
  bool pressed = false;  ///< this process makes it end
};

std::string end_words(int status) {
  if (WIFSIGNALED(status)) return fmt::format("was ended by signal {}", WTERMSIG(status));
  if (WEXITSTATUS(status) == kLostRanksExit) return "has lost another one";
  return fmt::format("ended with exit code {}", WEXITSTATUS(status));
}

class LocalRanks {
 public:
  void add(int64_t rank, pid_t process) { ranks_.push_back({rank, process}); }
  bool any_left() const {
    return std::any_of(ranks_.begin(), ranks_.end(), [](const auto& r) { return !r.ended; });
  }
  int exit_code() const { return exit_code_; }
  /// Whether all may go on when they are started again.
  bool may_go_on() const { return signal_ == 0 && (was_killed_ || exit_code_ == kLostRanksExit); }
  /// How the rank ended that exit_code() is of.
  const std::string& reason() const { return reason_; }

  void pass_on(int signal) {
    signal_ = signal;
    send(signal);
  }

  /// Takes note of those that have ended or were stopped.
  void reap() {
    for (auto& rank : ranks_) {
      int status = 0;
      while (!rank.ended &&
             waitpid(rank.process, &status, WNOHANG | WUNTRACED | WCONTINUED) == rank.process) {
        rank.stopped = WIFSTOPPED(status);
        if (WIFEXITED(status) || WIFSIGNALED(status)) note_end(rank, status);
      }
    }
  }

  /// Ends those that hang after another one has failed.
  void press() {
    if (!failed_at_) return;
    const auto waited = Clock::now() - *failed_at_;
    for (auto& rank : ranks_) {
      if (rank.ended) continue;
      if (rank.stopped || waited > kGrace + kLastGrace) {
        kill(rank.process, SIGKILL);
      } else if (waited > kGrace && !rank.pressed) {
        kill(rank.process, SIGTERM);
      } else {
        continue;
      }
      rank.pressed = true;
    }
  }

  void send(int signal) const {
    for (const auto& rank : ranks_) {
      if (!rank.ended) kill(rank.process, signal);
    }
  }

 private:
  void note_end(LocalRank& rank, int status) {
    rank.ended = true;
    const int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (code == 0) return;
    if (signal_ != 0 && code == 128 + signal_) {  // it has saved what it has; nothing is wrong
      if (exit_code_ == 0) exit_code_ = code;
      return;
    }
    // Those that end later do so for want of the first one, or because they are made to.
    const bool is_cause = code != kLostRanksExit && !rank.pressed;
    if (exit_code_ == 0 || (exit_code_ == kLostRanksExit && is_cause)) {
      exit_code_ = code;
      was_killed_ = WIFSIGNALED(status);
      reason_ = fmt::format("rank {} {}", rank.rank, end_words(status));
    }
    if (failed_at_) return;
    failed_at_ = Clock::now();
    if (any_left()) log().error("{}; the others are stopped", reason_);
  }

  std::vector<LocalRank> ranks_;
  int exit_code_ = 0, signal_ = 0;
  bool was_killed_ = false;
  std::string reason_;
  std::optional<Clock::time_point> failed_at_;
};

/// Starts the plan's ranks and waits until all have ended.
LocalRanks run_once(const RankPlan& plan, const std::vector<std::string>& arguments,
                    const std::string& init_method, const HeldSignals& signals) {
  LocalRanks ranks;
  try {
    for (int64_t i = 0; i < plan.processes; ++i) {
      ranks.add(plan.first.rank + i,
                start_program(arguments, variables_of(plan, i, init_method), signals.before()));
    }
  } catch (...) {
    ranks.send(SIGKILL);
    throw;
  }
  while (ranks.any_left()) {
    const auto signal = signals.next();
    if (signal && *signal != SIGCHLD) ranks.pass_on(*signal);
    ranks.reap();
    ranks.press();
  }
  return ranks;
}

}  // namespace

int run_local_ranks(const RankPlan& plan, const std::vector<std::string>& arguments,
                    int64_t max_restarts) {
  const auto cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
  if (plan.processes > kMostPerCore * cores) {
    fail_usage(
        "{} processes on this machine, which has {} cores: start at most {} (for those of "
        "several machines give --distributed-rank, --distributed-init-method and "
        "--distributed-num-procs on each)",
        plan.processes, cores, kMostPerCore * cores);
  }
  std::optional<TemporaryFolder> folder;  // of the file by which ranks of one machine meet
  auto init_method = plan.first.init_method;
  if (init_method.empty()) {
    folder.emplace("", "name one that can be written in TMPDIR");
    init_method = "file://" + (folder->path() / "ranks").string();
  }
  // What ranks have left in a file holds for them alone.
  const auto method_of = [&](int64_t restart) {
    const bool new_file = restart > 0 && init_method.starts_with(kFile);
    return new_file ? fmt::format("{}.{}", init_method, restart) : init_method;
  };
  const HeldSignals signals;
  for (int64_t restart = 0;; ++restart) {
    if (const auto next = method_of(restart + 1);
        next.starts_with(kFile) && plan.first.rank == 0 && restart < max_restarts) {
      std::error_code absent;  // of an earlier run
      std::filesystem::remove(next.substr(kFile.size()), absent);
    }
    const auto ranks = run_once(plan, arguments, method_of(restart), signals);
    if (!ranks.may_go_on() || restart == max_restarts) return ranks.exit_code();
    log().warn("{}; starts all again from the last checkpoint (restart {} of {})", ranks.reason(),
               restart + 1, max_restarts);
  }
}

}  // namespace evomoe
