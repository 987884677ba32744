#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "evomoe/parallel/rank_groups.h"
#include "evomoe/train/parameter_shards.h"

namespace evomoe {

/// Adds up the gradients of all ranks while the backward pass still runs.
///
/// Gradients travel in buckets of about 25 MiB, filled in the reverse order of the parameters,
/// which is about that in which the backward pass makes them. A bucket starts as soon as it is
/// complete and those before it have started. So all ranks start the same buckets in the same
/// order, also one that has no backward pass (its batch stands in for one, or its loss is not
/// finite): it adds zeros. A gradient that no rank has stays undefined. What is frozen does not
/// travel.
///
/// Without ZeRO, and in its stage 1, micro-batches are added up on each rank, and ranks once an
/// update. In stages 2 and 3 ranks are added up in each micro-batch; each keeps the sums of the
/// elements that it owns, and whole gradients are freed bucket by bucket.
class GradientSync {
 public:
  /// All ranks call it. `shards` must outlive it.
  GradientSync(ParameterShards& shards, const RankGroups& ranks);
  ~GradientSync();
  GradientSync(const GradientSync&) = delete;
  GradientSync& operator=(const GradientSync&) = delete;

  /// To be called after parameters were replaced.
  void watch_parameters();

  /// Drops the gradients of the update before. `used`: the parameters that were ever updated; those
  /// of which no gradient is to be expected do not keep the others waiting. The order in which
  /// gradients are added up follows from it, and so is the same in a run that goes on from a
  /// checkpoint.
  void begin_update(std::vector<bool> used);
  /// Around the backward pass of each micro-batch, or in place of one. `last`: of the update.
  void begin_backward(bool last);
  void end_backward();
  /// Returns when the sums are there: the gradients of what the optimiser updates.
  void finish();

  /// The sum of the squares of the gradients of the whole model, each element counted once. The
  /// same number on all ranks, which all call it.
  double sum_of_squares() const;

 private:
  /// Gradients that travel together.
  struct Bucket {
    std::vector<size_t> members;  ///< parameters
    int64_t block = -1;           ///< stage 3: of which block; -1: of none
    bool at_the_end = false;      ///< starts when the backward pass is over
    size_t missing = 0;           ///< gradients that have not come yet
    torch::Tensor sent;           ///< until the operation is over
    torch::Tensor sum;            ///< of the members, then how many ranks have a gradient of each
    std::unique_ptr<PendingOperation> operation;
  };
  /// Buckets that are added up in their order.
  struct Lane {
    std::shared_ptr<Communicator> ranks;
    std::vector<size_t> members;
    std::vector<Bucket> buckets;
    size_t started = 0, over = 0;  ///< so many of them
  };

  bool scatters() const { return shards_.settings().stage >= 2; }
  /// Whether no more than two buckets may be on their way. Not where ranks wait for each other in
  /// the backward pass as well, for experts: they might do so for ever.
  bool waits_for_memory() const;
  int64_t elements_of(size_t parameter) const;
  void divide_into_lanes();
  void fill_buckets(Lane& lane) const;
  bool comes_late(size_t parameter) const;
  void arrived(size_t parameter);
  void start_next(Lane& lane);
  void take_sum(Bucket& bucket);
  void wait_for_next(Lane& lane);
  void wait_for_all();
  void before_block_backward(int64_t block);

  ParameterShards& shards_;
  RankGroups ranks_;
  std::shared_ptr<Communicator> all_, replicas_, outside_;  ///< for gradients alone
  std::vector<Lane> lanes_;
  std::vector<std::pair<size_t, size_t>> bucket_of_;  ///< of each parameter: lane, bucket
  std::vector<torch::Tensor> watched_;
  std::vector<bool> used_;
  bool adds_ = false;  ///< gradients that come now are added up
};

}  // namespace evomoe
