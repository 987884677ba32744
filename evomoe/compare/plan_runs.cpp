#include "evomoe/compare/plan_runs.h"

#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <map>
#include <optional>
#include <thread>

#include "evomoe/base/clock.h"
#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/base/mapped_file.h"
#include "evomoe/base/write_file.h"
#include "evomoe/checkpoint/checkpoint.h"
#include "evomoe/parallel/start_program.h"
#include "evomoe/report/progress_line.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

/// Options of the runs of a plan, as files in its folder. Those of an earlier start must be the
/// same.
class PlanFolder {
 public:
  explicit PlanFolder(const ComparePlan& plan) : plan_(plan) {
    fs::create_directories(plan.folder / "plan");
    keep("base", plan.base);
    for (const auto& [method, options] : plan.methods) keep(method, options);
  }

  std::string file(const std::string& name) const {
    return (plan_.folder / "plan" / (name + ".yaml")).string();
  }

 private:
  void keep(const std::string& name, const std::string& text) const {
    const fs::path path = file(name);
    if (!fs::exists(path)) {
      write_file(path, [&](std::ostream& out) { out << text; });
      return;
    }
    EVOMOE_CHECK(MappedFile(path).bytes() == text,
                 "{}: the runs in {} were begun with other options of '{}' ({}); name another "
                 "folder, or remove it",
                 plan_.file.string(), plan_.folder.string(), name, path.string());
  }

  const ComparePlan& plan_;
};

bool is_complete(const ComparePlan& plan, const PlannedRun& run) {
  const auto checkpoint = plan.folder / run.name() / "checkpoint_last";
  return checkpoint_exists(checkpoint) && read_state(checkpoint).updates >= run.updates;
}

std::vector<std::string> arguments_of(const ComparePlan& plan, const PlannedRun& run,
                                      const PlanFolder& files, int64_t threads) {
  std::vector<std::string> arguments = {"train",
                                        plan.data,
                                        "--config",
                                        files.file("base"),
                                        "--config",
                                        files.file(run.method),
                                        "--seed",
                                        std::to_string(run.seed),
                                        "--max-update",
                                        std::to_string(run.updates),
                                        "--save-dir",
                                        (plan.folder / run.name()).string(),
                                        "--no-epoch-checkpoints"};
  if (threads > 0) {
    arguments.emplace_back("--threads");
    arguments.push_back(std::to_string(threads));
  }
  return arguments;
}

/// The last line that a run has written: why it failed.
std::string last_line(const fs::path& file) {
  std::ifstream in(file);
  std::string last;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) last = line;
  }
  return last;
}

/// The processes that are going.
class Jobs {
 public:
  Jobs(const ComparePlan& plan, int64_t jobs) : plan_(plan), files_(plan), jobs_(jobs) {
    sigemptyset(&signals_);
    for (const int signal : {SIGINT, SIGTERM, SIGCHLD}) sigaddset(&signals_, signal);
    sigprocmask(SIG_BLOCK, &signals_, &before_);
    const auto cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
    if (jobs > 1) threads_ = std::max<int64_t>(1, cores / jobs);
  }
  ~Jobs() {
    for (const auto& [process, run] : running_) kill(process, SIGKILL);
    sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
  Jobs(const Jobs&) = delete;
  Jobs& operator=(const Jobs&) = delete;

  std::vector<RunOutcome> make(const std::vector<PlannedRun>& runs) {
    std::vector<RunOutcome> outcomes;
    for (const auto& run : runs) outcomes.push_back({run, ""});
    size_t next = 0;
    while (next < runs.size() || !running_.empty()) {
      while (signal_ == 0 && next < runs.size() && running_.size() < static_cast<size_t>(jobs_)) {
        if (!is_complete(plan_, runs[next])) start(outcomes, next);
        ++next;
      }
      if (running_.empty()) break;
      wait(outcomes);
    }
    if (signal_ != 0)
      fail("stopped by signal {}; the same command goes on where the runs have stopped", signal_);
    return outcomes;
  }

 private:
  fs::path output(const PlannedRun& run) const { return plan_.folder / (run.name() + ".txt"); }

  void start(const std::vector<RunOutcome>& outcomes, size_t index) {
    const auto& run = outcomes[index].run;
    log().info("{} begins ({} of {})", run.name(), index + 1, outcomes.size());
    const auto process = start_program(arguments_of(plan_, run, files_, threads_), {}, before_,
                                       output(run).string());
    running_[process] = index;
    begun_[process] = clock_();
  }

  void wait(std::vector<RunOutcome>& outcomes) {
    const timespec half_a_second = {0, 500'000'000};
    const int signal = sigtimedwait(&signals_, nullptr, &half_a_second);
    if (signal > 0 && signal != SIGCHLD) {
      signal_ = signal;
      for (const auto& [process, index] : running_) kill(process, signal);
    }
    int status = 0;
    for (pid_t process = waitpid(-1, &status, WNOHANG); process > 0;
         process = waitpid(-1, &status, WNOHANG)) {
      const auto found = running_.find(process);
      if (found == running_.end()) continue;
      auto& outcome = outcomes[found->second];
      running_.erase(found);
      const auto seconds = clock_() - begun_[process];
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        log().info("{} is complete, after {}", outcome.run.name(), duration_text(seconds));
      } else if (signal_ == 0) {
        const auto said = last_line(output(outcome.run));
        outcome.failure = WIFSIGNALED(status)
                              ? fmt::format("it was ended by signal {}", WTERMSIG(status))
                              : fmt::format("exit code {}: {}", WEXITSTATUS(status), said);
        log().error("{} has failed: {} ({})", outcome.run.name(), outcome.failure,
                    output(outcome.run).string());
      }
    }
  }

  const ComparePlan& plan_;
  PlanFolder files_;
  int64_t jobs_, threads_ = 0;
  sigset_t signals_{}, before_{};
  std::map<pid_t, size_t> running_;
  std::map<pid_t, double> begun_;
  Clock clock_ = steady_clock_seconds();
  int signal_ = 0;
};

}  // namespace

std::vector<RunOutcome> make_runs(const ComparePlan& plan, int64_t jobs) {
  return Jobs(plan, jobs).make(runs_of(plan));
}

}  // namespace evomoe
