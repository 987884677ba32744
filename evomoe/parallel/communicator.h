#pragma once

#include <torch/torch.h>

namespace evomoe {

/// Talks to the other processes of a run. Model and trainer always call it: one process is not a
/// special case.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Adds `tensor` over all processes, in place.
  virtual void all_reduce_sum(torch::Tensor& tensor) = 0;
};

/// The communicator of a run with one process: every operation leaves its argument as it is.
class SelfCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_reduce_sum(torch::Tensor&) override {}
};

}  // namespace evomoe
