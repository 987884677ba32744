#include "evomoe/run/profile.h"

#include <ATen/SequenceNumber.h>
#include <ATen/record_function.h>
#include <c10/util/ApproximateClock.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/run/time_account.h"

namespace evomoe {
namespace {

namespace profiler = torch::autograd::profiler;
using torch::profiler::impl::ActivityType;
using torch::profiler::impl::ProfilerConfig;
using torch::profiler::impl::ProfilerState;

/// The engine's own scope around each node, which counts with it.
constexpr const char* kNodeScope = "autograd::engine::evaluate_function: ";
constexpr const char* kAccumulation = "torch::autograd::AccumulateGrad";

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

TimeAccount::NodeNumber next_node() {
  return {at::RecordFunction::currentThreadId(), static_cast<int64_t>(at::sequence_number::peek())};
}

bool is_node_scope(const at::RecordFunction& function) {
  return function.scope() == at::RecordScope::FUNCTION &&
         std::strncmp(function.name(), kNodeScope, std::strlen(kNodeScope)) == 0;
}

/// Marks in the trace which part the nodes of the backward pass belong to: one span for
/// neighbouring nodes of one part, inside of it those of a backward pass within a node (recomputed
/// layers). The trace has microseconds of the clock of c10::getTime().
class BackwardSpans {
 public:
  void begin_node() {
    ++depth_;
    node_began_ = c10::getTime();
  }

  void name_node(const TimeAccount::Path& part) {
    std::string name;
    for (size_t i = 1; i < part.size(); ++i) name += (i == 1 ? "" : " ") + part[i];
    const bool beside = !spans_.empty() && spans_.back().depth == depth_;
    if (beside && spans_.back().name == name) return;
    if (beside) end_last(node_began_);
    spans_.push_back({name, node_began_, depth_});
  }

  void end_node() {
    while (!spans_.empty() && spans_.back().depth > depth_) end_last(c10::getTime());
    --depth_;
  }

  /// The pass is over.
  void end_all() {
    while (!spans_.empty()) end_last(c10::getTime());
  }

 private:
  struct Span {
    std::string name;
    int64_t began;
    int depth;
  };

  void end_last(int64_t time) {
    const auto& span = spans_.back();
    if (!span.name.empty()) {
      profiler::reportBackendEventToActiveKinetoProfiler(
          span.began / 1000, time / 1000, /*debug_handle=*/-1, at::RecordScope::USER_SCOPE,
          span.name, "backward");
    }
    spans_.pop_back();
  }

  std::vector<Span> spans_;  ///< open, from the outside in
  int64_t node_began_ = 0;
  int depth_ = 0;
};

void require_writable(const std::filesystem::path& trace) {
  std::error_code error;
  std::filesystem::create_directories(trace.parent_path(), error);
  const bool existed = std::filesystem::exists(trace, error);
  const bool writable = std::ofstream(trace, std::ios::app).good();
  if (!writable) {
    fail_usage("--profile: {} cannot be written; free that name, or take another --save-dir",
               trace.string());
  }
  if (!existed) std::filesystem::remove(trace, error);
}

}  // namespace

/// Listens to LibTorch's record functions while it lives. Its callbacks are plain functions, so the
/// one that lives is found through a static.
class Profile::Recording {
 public:
  explicit Recording(bool with_trace) : with_trace_(with_trace) {
    EVOMOE_CHECK(listening_ == nullptr, "two profiles cannot be recorded at once");
    listening_ = this;
    callback_ = at::addThreadLocalCallback(
        at::RecordFunctionCallback(&Recording::began, &Recording::ended)
            .scopes({at::RecordScope::USER_SCOPE, at::RecordScope::BACKWARD_FUNCTION,
                     at::RecordScope::FUNCTION}));
    if (!with_trace_) return;
    // Its library reports starting and stopping as if they were errors.
    setenv("KINETO_LOG_LEVEL", "6", /*overwrite=*/0);
    const ProfilerConfig config(ProfilerState::KINETO);
    std::set<ActivityType> activities = {ActivityType::CPU};
    if (torch::cuda::is_available()) activities.insert(ActivityType::CUDA);
    profiler::prepareProfiler(config, activities);
    profiler::enableProfiler(config, activities);
  }

  ~Recording() {
    if (with_trace_) profiler::disableProfiler();
    at::removeCallback(callback_);
    listening_ = nullptr;
  }

  void save(const std::filesystem::path& trace) {
    const auto result = profiler::disableProfiler();
    with_trace_ = false;
    std::error_code error;
    std::filesystem::remove(trace, error);
    result->save(trace.string());
    const auto size = std::filesystem::file_size(trace, error);
    if (error || size == 0) log().warn("--profile: the trace {} was not written", trace.string());
  }

  const TimeAccount& account() const { return account_; }

 private:
  static std::unique_ptr<at::ObserverContext> began(const at::RecordFunction& function) {
    listening_->begin(function);
    return nullptr;
  }
  static void ended(const at::RecordFunction& function, at::ObserverContext*) {
    listening_->end(function);
  }

  void begin(const at::RecordFunction& function) {
    if (function.scope() == at::RecordScope::USER_SCOPE) {
      account_.open(function.name(), next_node(), now());
    } else if (is_node_scope(function)) {
      spans_.begin_node();
      account_.open_node(now());
    } else if (function.scope() == at::RecordScope::BACKWARD_FUNCTION) {
      if (std::strcmp(function.name(), kAccumulation) == 0) {
        account_.name_accumulation();
      } else {
        const auto& part = account_.name_node({function.forwardThreadId(), function.seqNr()});
        if (with_trace_) spans_.name_node(part);
      }
    }
  }

  void end(const at::RecordFunction& function) {
    if (function.scope() == at::RecordScope::USER_SCOPE) {
      if (with_trace_ && std::strcmp(function.name(), "backward") == 0) spans_.end_all();
      account_.close(next_node(), now());
    } else if (is_node_scope(function)) {
      spans_.end_node();
      account_.close_node(now());
    }
  }

  static Recording* listening_;
  bool with_trace_;
  at::CallbackHandle callback_ = 0;
  TimeAccount account_;
  BackwardSpans spans_;
};

Profile::Recording* Profile::Recording::listening_ = nullptr;

Profile::Profile(int64_t updates, std::filesystem::path trace)
    : updates_(updates), trace_(std::move(trace)) {
  if (!trace_.empty()) require_writable(trace_);
}

Profile::~Profile() = default;

void Profile::before_update() {
  if (seen_ == kWarmupUpdates) recording_ = std::make_unique<Recording>(!trace_.empty());
}

std::optional<TimeSummary> Profile::after_update(int64_t completed_updates) {
  ++seen_;
  last_update_ = completed_updates;
  return seen_ == kWarmupUpdates + updates_ ? finish() : std::nullopt;
}

std::optional<TimeSummary> Profile::finish() {
  const auto measured = seen_ - kWarmupUpdates;
  if (!recording_ || measured <= 0) return std::nullopt;
  if (!trace_.empty()) recording_->save(trace_);
  auto summary = recording_->account().summary(measured);
  summary.last_update = last_update_;
  recording_.reset();
  return summary;
}

std::unique_ptr<Profile> open_profile(const TrainOptions& options,
                                      std::optional<int64_t> updates_ahead) {
  const auto& updates = options.resources.profile;
  if (!updates) return nullptr;
  const auto& ahead = updates_ahead;
  if (ahead && *updates > *ahead - Profile::kWarmupUpdates) {
    fail_usage(
        "--profile {}: this run makes {} more updates, and the first {} are warm-up; profile {}",
        *updates, std::max<int64_t>(*ahead, 0), Profile::kWarmupUpdates,
        *ahead > Profile::kWarmupUpdates
            ? fmt::format("at most {}", *ahead - Profile::kWarmupUpdates)
            : "a longer run (--max-update, --max-epoch)");
  }
  const std::filesystem::path folder = options.checkpoint.save_dir;
  return std::make_unique<Profile>(
      *updates, options.checkpoint.no_save ? std::filesystem::path() : folder / "profile.json");
}

}  // namespace evomoe
