#pragma once

#include <torch/torch.h>

#include <span>
#include <vector>

namespace evomoe {

/// Talks to the other processes of a run, its ranks. Model, trainer and evaluation always call it,
/// all ranks the same operations in the same order: one process is not a special case.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Adds `tensor` over all processes, in place.
  virtual void all_reduce_sum(torch::Tensor& tensor) = 0;
  /// The same with several tensors, whose shapes must be those of the other processes.
  virtual void all_reduce_sum(std::vector<torch::Tensor>& tensors) {
    for (auto& tensor : tensors) all_reduce_sum(tensor);
  }
  /// The same with numbers; counts are exact up to 2^53.
  void all_reduce_sum(std::span<double> numbers) {
    auto tensor =
        torch::from_blob(numbers.data(), {static_cast<int64_t>(numbers.size())}, torch::kFloat64);
    all_reduce_sum(tensor);
  }
};

/// The communicator of a run with one process: every operation leaves its argument as it is.
class SelfCommunicator final : public Communicator {
 public:
  using Communicator::all_reduce_sum;
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_reduce_sum(torch::Tensor&) override {}
};

}  // namespace evomoe
