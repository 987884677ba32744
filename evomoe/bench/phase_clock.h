#pragma once

#include <torch/torch.h>

#include <chrono>
#include <memory>
#include <vector>

namespace evomoe::bench {

/// Tells where the backward pass of a training step ends: when the last gradient of the model's
/// parameters was complete. At most one at a time may watch a parameter.
class PhaseClock {
 public:
  explicit PhaseClock(const torch::nn::Module& model);
  ~PhaseClock();
  PhaseClock(const PhaseClock&) = delete;
  PhaseClock& operator=(const PhaseClock&) = delete;

  void start();
  /// Milliseconds from start() to the last gradient. Error when there was none.
  double until_last_gradient_ms() const;

 private:
  using Time = std::chrono::steady_clock::time_point;
  Time start_;
  std::shared_ptr<Time> last_gradient_;
  std::vector<torch::Tensor> parameters_;
};

}  // namespace evomoe::bench
