#include "evomoe/compare/plan_runs.h"

#include <fmt/ranges.h>
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
#include "evomoe/data/data_folders.h"
#include "evomoe/parallel/start_program.h"
#include "evomoe/report/compared_data.h"
#include "evomoe/report/progress_line.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;

/// The files of the data folders with their sizes: other data is noticed before anything runs.
std::string data_text(const std::string& data) {
  std::string text;
  for (const auto& folder : open_data_paths(data)) {
    std::map<std::string, uintmax_t> sizes;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      const auto kind = entry.path().extension();
      if (entry.is_regular_file() && (kind == ".bin" || kind == ".idx" || kind == ".txt"))
        sizes[entry.path().lexically_relative(folder).string()] = entry.file_size();
    }
    text += "-\n";
    for (const auto& [name, size] : sizes) text += fmt::format("  {}: {}\n", name, size);
  }
  return text;
}

/// Options and data of the runs of a plan, as files in its folder. Those of an earlier start must
/// be the same.
class PlanFolder {
 public:
  explicit PlanFolder(const ComparePlan& plan) : plan_(plan) {
    const auto data = data_text(plan.data);
    fs::create_directories(plan.folder / "plan");
    keep("data-files", data, "with other data");
    keep("base", plan.base);
    for (const auto& [method, options] : plan.methods) keep(method, options);
  }

  /// Error where a run that is there was begun with a setting of a search and now has none, or the
  /// reverse.
  void check_begun(const PlannedRun& run) const {
    if (run.is_trial || !fs::exists(plan_.folder / run.name())) return;
    EVOMOE_CHECK(fs::exists(file(run.method + ".chosen")) == run.setting.has_value(),
                 "{}: the run {} in {} was begun {} a setting of 'search'; name another folder, or "
                 "remove it",
                 plan_.file.string(), run.name(), plan_.folder.string(),
                 run.setting ? "without" : "with");
  }
  /// The file of a run's setting.
  std::string setting(const PlannedRun& run) const {
    const auto name =
        run.is_trial ? fmt::format("{}.s{}", run.method, *run.setting + 1) : run.method + ".chosen";
    keep(name, plan_.search.at(run.method).at(*run.setting).options);
    return file(name);
  }

  std::string file(const std::string& name) const {
    return (plan_.folder / "plan" / (name + ".yaml")).string();
  }

 private:
  void keep(const std::string& name, const std::string& text, const std::string& what = "") const {
    const fs::path path = file(name);
    if (!fs::exists(path)) {
      write_file(path, [&](std::ostream& out) { out << text; });
      return;
    }
    EVOMOE_CHECK(MappedFile(path).bytes() == text,
                 "{}: the runs in {} were begun {} ({}); name another folder, or remove it",
                 plan_.file.string(), plan_.folder.string(),
                 what.empty() ? fmt::format("with other options of '{}'", name) : what,
                 path.string());
  }

  const ComparePlan& plan_;
};

/// What a run has taken of its length until its last checkpoint.
double done_of(const ComparePlan& plan, const PlannedRun& run) {
  const auto checkpoint = plan.folder / run.name() / "checkpoint_last";
  if (!checkpoint_exists(checkpoint)) return 0;
  const auto state = read_state(checkpoint);
  switch (run.unit) {
    case PlanUnit::kUpdates:
      return static_cast<double>(state.updates);
    case PlanUnit::kTokens:
      return state.progress.tokens;
    case PlanUnit::kFlops:
      return state.progress.flops;
    case PlanUnit::kSeconds:
      return state.progress.seconds;
  }
  return 0;
}

std::vector<std::string> arguments_of(const ComparePlan& plan, const PlannedRun& run,
                                      const PlanFolder& files, int64_t threads) {
  std::vector<std::string> arguments = {"train",
                                        plan.data,
                                        "--config",
                                        files.file("base"),
                                        "--config",
                                        files.file(run.method),
                                        "--no-epoch-checkpoints"};
  const auto add = [&](const char* option, std::string value) {
    arguments.insert(arguments.end(), {option, std::move(value)});
  };
  if (run.setting) add("--config", files.setting(run));
  add("--seed", std::to_string(run.seed));
  add("--save-dir", (plan.folder / run.name()).string());
  if (run.unit == PlanUnit::kUpdates) {
    add("--max-update", fmt::format("{:.0f}", run.length));
  } else {
    add("--budget", fmt::format("{}={}", unit_name(run.unit), run.length));
  }
  if (threads > 0) add("--threads", std::to_string(threads));
  return arguments;
}

/// Error where runs in the folder were trained or validated on different data.
void check_same_data(const ComparePlan& plan, const std::vector<PlannedRun>& runs) {
  std::string first_name;
  nlohmann::ordered_json first;
  for (const auto& run : runs) {
    const auto record = read_data_record(plan.folder / run.name());
    if (record.is_null()) continue;
    if (first.is_null()) {
      first_name = run.name();
      first = record;
    }
    auto differences = data_differences(first, record, plan.subset);
    if (auto of_training = training_difference(first, record))
      differences.push_back("training data: " + *of_training);
    EVOMOE_CHECK(differences.empty(),
                 "{}: the runs {} and {} have different data, so that they cannot be compared: {}; "
                 "remove the folders of those of the other data, or name another 'folder'",
                 plan.folder.string(), run.name(), first_name, fmt::join(differences, "; "));
  }
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
    // Of all runs, also complete ones, before the file of a setting is written.
    for (const auto& run : runs) files_.check_begun(run);
    for (const auto& run : runs) {
      if (run.setting) files_.setting(run);
    }
    size_t next = 0;
    while (next < runs.size() || !running_.empty()) {
      while (signal_ == 0 && next < runs.size() && running_.size() < static_cast<size_t>(jobs_)) {
        if (done_of(plan_, runs[next]) < runs[next].length) start(outcomes, next);
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
      const auto done = done_of(plan_, outcome.run);
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && done < outcome.run.length) {
        outcome.failure =
            fmt::format("it ended after {} of {}", done, plan_.length_text(outcome.run.length));
        log().error("{} has failed: {} ({})", outcome.run.name(), outcome.failure,
                    output(outcome.run).string());
      } else if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
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

std::vector<RunOutcome> make_runs(const ComparePlan& plan, const std::vector<PlannedRun>& runs,
                                  int64_t jobs) {
  if (plan.unit == PlanUnit::kSeconds && jobs > 1) {
    fail_usage(
        "--jobs {} with a budget of seconds: runs that share the machine would do less in "
        "them; leave --jobs out",
        jobs);
  }
  check_same_data(plan, runs);
  auto outcomes = Jobs(plan, jobs).make(runs);
  check_same_data(plan, runs);
  return outcomes;
}

}  // namespace evomoe
