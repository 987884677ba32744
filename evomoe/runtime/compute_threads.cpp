#include "evomoe/runtime/compute_threads.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <cstdlib>
#include <utility>

#include "evomoe/base/clock.h"
#include "evomoe/base/log.h"
#include "evomoe/runtime/processor_use.h"

namespace evomoe {

ComputeThreads::ComputeThreads(int64_t threads, Tell tell) : tell_(std::move(tell)) {
  if (!tell_) tell_ = [](const auto& change) { log().info("{}", thread_words(change)); };
  if (threads > 0 || std::getenv("OMP_NUM_THREADS") != nullptr) return;
  choice_.emplace(at::get_num_threads(),
                  ThreadChoice::Machine{.now = steady_clock_seconds(),
                                        .waited = seconds_waited_for_a_core,
                                        .idle = seconds_cores_were_idle,
                                        .use = [](int count) { at::set_num_threads(count); }});
}

void ComputeThreads::begin() {
  if (choice_) choice_->begin();
}

void ComputeThreads::end(double work) {
  if (!choice_) return;
  if (const auto change = choice_->end(work)) tell_(*change);
}

void ComputeThreads::stop_trial() {
  if (choice_) choice_->stop_trial();
}

std::string thread_words(const ThreadChoice::Change& change) {
  return fmt::format(
      "threads: {} instead of {}, {:.2f} times as fast {} (--threads N fixes the number)",
      change.threads, change.before, change.ratio,
      change.threads < change.before ? "while other programs use the processor"
                                     : "now that more of the processor is free");
}

}  // namespace evomoe
