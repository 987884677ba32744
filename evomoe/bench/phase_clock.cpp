#include "evomoe/bench/phase_clock.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include "evomoe/base/error.h"

namespace evomoe::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct NoteTime : torch::autograd::PostAccumulateGradHook {
  explicit NoteTime(std::shared_ptr<Clock::time_point> time) : time_(std::move(time)) {}
  void operator()(const torch::Tensor&) override { *time_ = Clock::now(); }
  std::shared_ptr<Clock::time_point> time_;
};

}  // namespace

PhaseClock::PhaseClock(const torch::nn::Module& model)
    : last_gradient_(std::make_shared<Time>()), parameters_(model.parameters()) {
  for (const auto& parameter : parameters_) {
    if (!parameter.requires_grad()) continue;
    torch::autograd::impl::set_post_acc_grad_hooks(parameter,
                                                   std::make_unique<NoteTime>(last_gradient_));
  }
}

PhaseClock::~PhaseClock() {
  for (const auto& parameter : parameters_)
    torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
}

void PhaseClock::start() { start_ = Clock::now(); }

double PhaseClock::until_last_gradient_ms() const {
  EVOMOE_CHECK(*last_gradient_ > start_, "no gradient was made since the clock was started");
  return std::chrono::duration<double, std::milli>(*last_gradient_ - start_).count();
}

}  // namespace evomoe::bench
