#include "evomoe/run/run_totals.h"

#include "evomoe/base/clock.h"

namespace evomoe {

void RunTotals::restore(const ProgressRecord& progress) {
  earlier_seconds_ = progress.seconds;
  flops_ = progress.flops;
  tokens_ = progress.tokens;
}

ProgressRecord RunTotals::record() const {
  return {.seconds = seconds(), .flops = flops_, .tokens = tokens_};
}

void RunTotals::start() { started_ = steady_clock_seconds()(); }

void RunTotals::add(double flops, double tokens) {
  flops_ += flops;
  tokens_ += tokens;
}

double RunTotals::own_seconds() const {
  return started_ > 0 ? steady_clock_seconds()() - started_ : 0;
}

void RunTotals::write(LogLine& line) const {
  line.add_data("elapsed", seconds());
  line.add_data("flops", flops_);
  line.add_data("train_tokens", tokens_);
}

}  // namespace evomoe
