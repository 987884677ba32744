#include "evomoe/parallel/communicator.h"

#include <algorithm>
#include <numeric>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

/// Nothing is left to be done.
class DoneOperation final : public PendingOperation {
 public:
  void wait() override {}
  bool is_over() override { return true; }
};

/// 25 MiB of float32, as in PyTorch's DDP.
constexpr int64_t kBucketElements = 25 * (1 << 20) / 4;

/// Adds tensors of one type as one, as a small one costs as much time as a megabyte.
void sum_bucket(std::span<torch::Tensor> tensors, int64_t elements, Communicator& communicator) {
  if (tensors.size() == 1) return communicator.all_reduce_sum(tensors.front());
  auto bucket = torch::empty({elements}, tensors.front().options());
  const auto for_each_part = [&](const auto& visit) {
    int64_t at = 0;
    for (auto& tensor : tensors) {
      visit(tensor, bucket.narrow(0, at, tensor.numel()).view(tensor.sizes()));
      at += tensor.numel();
    }
  };
  for_each_part([](torch::Tensor& tensor, torch::Tensor part) { part.copy_(tensor); });
  communicator.all_reduce_sum(bucket);
  for_each_part([](torch::Tensor& tensor, const torch::Tensor& part) { tensor.copy_(part); });
}

}  // namespace

torch::Tensor Communicator::all_to_all(const torch::Tensor& rows,
                                       const std::vector<int64_t>& sent_P,
                                       const std::vector<int64_t>& received_P,
                                       const std::string& what) {
  if (size() == 1) return rows;
  const torch::NoGradGuard no_grad;
  auto sizes = rows.sizes().vec();
  sizes.at(0) = std::reduce(received_P.begin(), received_P.end());
  auto received = torch::empty(sizes, rows.options().requires_grad(false));
  start_all_to_all(received, rows.contiguous(), sent_P, received_P, what)->wait();
  return received;
}

void Communicator::all_reduce_sum(torch::Tensor& tensor) {
  if (size() == 1) return;
  const torch::NoGradGuard no_grad;
  const auto contiguous = tensor.contiguous();
  start_all_reduce_sum(contiguous)->wait();
  if (!contiguous.is_same(tensor)) tensor.copy_(contiguous);
}

void Communicator::all_reduce_sum(std::vector<torch::Tensor>& tensors) {
  if (size() == 1) return;
  const torch::NoGradGuard no_grad;
  auto by_type = tensors;
  const auto type_of = [](const torch::Tensor& tensor) { return tensor.scalar_type(); };
  std::ranges::stable_sort(by_type, {}, type_of);
  for (size_t begin = 0; begin < by_type.size();) {
    size_t end = begin;
    int64_t elements = 0;
    while (end < by_type.size() && (end == begin || elements < kBucketElements) &&
           type_of(by_type[end]) == type_of(by_type[begin]))
      elements += by_type[end++].numel();
    sum_bucket(std::span(by_type).subspan(begin, end - begin), elements, *this);
    begin = end;
  }
}

void Communicator::all_reduce_sum(std::span<double> numbers) {
  auto tensor =
      torch::from_blob(numbers.data(), {static_cast<int64_t>(numbers.size())}, torch::kFloat64);
  all_reduce_sum(tensor);
}

std::vector<double> Communicator::all_gather(double own) {
  std::vector<double> of_rank(static_cast<size_t>(size()));
  of_rank[static_cast<size_t>(rank())] = own;
  all_reduce_sum(of_rank);
  return of_rank;
}

std::unique_ptr<PendingOperation> SelfCommunicator::start_all_reduce_sum(torch::Tensor) {
  return std::make_unique<DoneOperation>();
}

std::unique_ptr<PendingOperation> SelfCommunicator::start_all_gather(torch::Tensor whole,
                                                                     torch::Tensor part) {
  const torch::NoGradGuard no_grad;
  whole.copy_(part);
  return std::make_unique<DoneOperation>();
}

std::unique_ptr<PendingOperation> SelfCommunicator::start_reduce_scatter_sum(torch::Tensor part,
                                                                             torch::Tensor whole) {
  const torch::NoGradGuard no_grad;
  part.copy_(whole);
  return std::make_unique<DoneOperation>();
}

std::unique_ptr<PendingOperation> SelfCommunicator::start_all_to_all(torch::Tensor received,
                                                                     torch::Tensor rows,
                                                                     const std::vector<int64_t>&,
                                                                     const std::vector<int64_t>&,
                                                                     const std::string&) {
  const torch::NoGradGuard no_grad;
  received.copy_(rows);
  return std::make_unique<DoneOperation>();
}

std::shared_ptr<Communicator> SelfCommunicator::split(const std::vector<int>& members) {
  EVOMOE_CHECK(members == std::vector<int>{0}, "one process has no ranks but 0 to split off");
  return std::make_shared<SelfCommunicator>();
}

}  // namespace evomoe
