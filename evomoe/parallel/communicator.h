#pragma once

#include <torch/torch.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace evomoe {

/// An operation between ranks that goes on while the program does. Until wait() has returned its
/// tensors are not to be read or changed.
class PendingOperation {
 public:
  virtual ~PendingOperation() = default;
  /// Throws the Error of the operation.
  virtual void wait() = 0;
  /// Whether wait() would return at once.
  virtual bool is_over() = 0;
};

/// Talks to the other processes of a run, its ranks. Model, trainer and evaluation always call it,
/// all ranks the same operations in the same order: one process is not a special case.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Bytes that this process has sent to other ranks of the run so far, by any of its
  /// communicators: rows of all_to_all() as they are, sums and gathers as they go round a ring.
  virtual int64_t bytes_sent() const = 0;

  /// Begins to add `tensor` (contiguous) over all ranks, in place.
  virtual std::unique_ptr<PendingOperation> start_all_reduce_sum(torch::Tensor tensor) = 0;
  /// Begins to put the parts of all ranks, [n] each, one after the other into `whole`, [P n].
  virtual std::unique_ptr<PendingOperation> start_all_gather(torch::Tensor whole,
                                                             torch::Tensor part) = 0;
  /// Begins to add `whole`, [P n], over all ranks; `part`, [n], gets the sums that are this rank's:
  /// the n from rank * n on.
  virtual std::unique_ptr<PendingOperation> start_reduce_scatter_sum(torch::Tensor part,
                                                                     torch::Tensor whole) = 0;
  /// Begins to send the first sent_P[0] rows of `rows` (contiguous, [N, ...]) to rank 0, the next
  /// sent_P[1] to rank 1 and so on. `received` gets what the ranks send to this one, received_P[p]
  /// rows from rank p, in the order of the ranks. `what`: what errors call it.
  virtual std::unique_ptr<PendingOperation> start_all_to_all(torch::Tensor received,
                                                             torch::Tensor rows,
                                                             const std::vector<int64_t>& sent_P,
                                                             const std::vector<int64_t>& received_P,
                                                             const std::string& what = "rows") = 0;
  /// One of `members` alone, which are ranks of this one, this rank among them; their numbers are
  /// their places in the list. Every rank of this communicator calls it, each with the list that it
  /// is in.
  virtual std::shared_ptr<Communicator> split(const std::vector<int>& members) = 0;

  /// The exchange of start_all_to_all() with all that is received.
  torch::Tensor all_to_all(const torch::Tensor& rows, const std::vector<int64_t>& sent_P,
                           const std::vector<int64_t>& received_P,
                           const std::string& what = "rows");
  /// Adds `tensor` over all ranks, in place.
  void all_reduce_sum(torch::Tensor& tensor);
  /// The same with several tensors, whose shapes must be those of the other ranks.
  void all_reduce_sum(std::vector<torch::Tensor>& tensors);
  /// The same with numbers; counts are exact up to 2^53.
  void all_reduce_sum(std::span<double> numbers);
  void all_reduce_sum(double& number) { all_reduce_sum(std::span(&number, 1)); }
  /// What each rank gives, in their order, on all ranks.
  std::vector<double> all_gather(double own);
};

/// The communicator of a run with one process: every operation leaves its argument as it is, or
/// copies it.
class SelfCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  int64_t bytes_sent() const override { return 0; }
  std::unique_ptr<PendingOperation> start_all_reduce_sum(torch::Tensor tensor) override;
  std::unique_ptr<PendingOperation> start_all_gather(torch::Tensor whole,
                                                     torch::Tensor part) override;
  std::unique_ptr<PendingOperation> start_reduce_scatter_sum(torch::Tensor part,
                                                             torch::Tensor whole) override;
  std::unique_ptr<PendingOperation> start_all_to_all(torch::Tensor received, torch::Tensor rows,
                                                     const std::vector<int64_t>& sent_P,
                                                     const std::vector<int64_t>& received_P,
                                                     const std::string& what = "rows") override;
  std::shared_ptr<Communicator> split(const std::vector<int>& members) override;
};

}  // namespace evomoe
