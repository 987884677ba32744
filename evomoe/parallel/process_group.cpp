#include "evomoe/parallel/process_group.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "evomoe/base/error.h"

#ifdef EVOMOE_HAS_GLOO
#include <c10/util/Flags.h>
#include <c10/util/Logging.h>

#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

C10_DECLARE_int(caffe2_log_level);
#endif

namespace evomoe {

#ifdef EVOMOE_HAS_GLOO
namespace {

using std::chrono::milliseconds;

/// The first line: c10d's errors end with a trace of the stack.
std::string reason(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

std::string rank_words(const RankPlace& place) {
  return fmt::format("rank {} of {}", place.rank, place.size);
}

class GlooCommunicator final : public Communicator {
 public:
  using Communicator::all_reduce_sum;

  GlooCommunicator(RankPlace place, c10::intrusive_ptr<c10d::Store> store, milliseconds timeout)
      : place_(std::move(place)), timeout_(timeout) {
    auto options = c10d::ProcessGroupGloo::Options::create(timeout);
    options->devices.push_back(device());
    options->threads = 1;
    group_ = c10::make_intrusive<c10d::ProcessGroupGloo>(std::move(store), rank(), size(),
                                                         std::move(options));
  }

  int rank() const override { return static_cast<int>(place_.rank); }
  int size() const override { return static_cast<int>(place_.size); }

  /// In buckets of one type, as a small tensor costs as much time as a megabyte.
  void all_reduce_sum(std::vector<torch::Tensor>& tensors) override {
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
      sum_bucket(std::span(by_type).subspan(begin, end - begin), elements);
      begin = end;
    }
  }

  void all_reduce_sum(torch::Tensor& tensor) override {
    const torch::NoGradGuard no_grad;
    auto contiguous = tensor.contiguous();
    std::vector<at::Tensor> tensors = {contiguous};
    try {
      group_->allreduce(tensors)->wait();
    } catch (const std::exception& error) {
      fail(
          "{}: the sum of {} {} over all ranks failed: {}. Another process of the run has ended "
          "(its own message says why), or did not answer for {} s (--distributed-timeout)",
          rank_words(place_), c10::str(tensor.sizes()), c10::toString(tensor.scalar_type()),
          reason(error), timeout_.count() / 1000);
    }
    if (!contiguous.is_same(tensor)) tensor.copy_(contiguous);
  }

 private:
  /// 25 MiB of float32, as in PyTorch's DDP.
  static constexpr int64_t kBucketElements = 25 * (1 << 20) / 4;

  void sum_bucket(std::span<torch::Tensor> tensors, int64_t elements) {
    if (tensors.size() == 1) return all_reduce_sum(tensors.front());
    auto bucket = torch::empty({elements}, tensors.front().options());
    const auto for_each_part = [&](const auto& visit) {
      int64_t at = 0;
      for (auto& tensor : tensors) {
        visit(tensor, bucket.narrow(0, at, tensor.numel()).view(tensor.sizes()));
        at += tensor.numel();
      }
    };
    for_each_part([](torch::Tensor& tensor, torch::Tensor part) { part.copy_(tensor); });
    all_reduce_sum(bucket);
    for_each_part([](torch::Tensor& tensor, const torch::Tensor& part) { tensor.copy_(part); });
  }

  /// Of processes that are all on this machine the loopback: they need no network.
  std::shared_ptr<gloo::transport::Device> device() const {
    return place_.local_size == place_.size
               ? c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")
               : c10d::ProcessGroupGloo::createDefaultDevice();
  }

  RankPlace place_;
  milliseconds timeout_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
};

c10::intrusive_ptr<c10d::Store> open_store(const RankPlace& place, milliseconds timeout) {
  const auto& method = place.init_method;
  if (method.starts_with("file://")) {
    return c10::make_intrusive<c10d::FileStore>(method.substr(7), static_cast<int>(place.size));
  }
  const auto colon = method.rfind(':');
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(std::stoi(method.substr(colon + 1)));
  options.isServer = place.rank == 0;
  options.numWorkers = static_cast<size_t>(place.size);
  options.waitWorkers = false;  // below, where it can be said who is missing
  options.timeout = timeout;
  return c10::make_intrusive<c10d::TCPStore>(method.substr(6, colon - 6), options);
}

/// Waits for all ranks and compares what they say of themselves with what rank 0 says.
void meet(c10d::Store& store, const RankPlace& place, const RankFacts& facts) {
  const auto key = [](int64_t rank) { return fmt::format("facts of rank {}", rank); };
  EVOMOE_CHECK(store.add(fmt::format("arrivals of rank {}", place.rank), 1) == 1,
               "two processes are rank {} at {}: each needs a --distributed-rank of its own",
               place.rank, place.init_method);
  auto own = facts;
  own["--distributed-world-size"] = std::to_string(place.size);
  const auto text = nlohmann::json(own).dump();
  store.set(key(place.rank), std::vector<uint8_t>(text.begin(), text.end()));
  const auto first = store.get(key(0));
  const auto theirs = nlohmann::json::parse(first.begin(), first.end()).get<RankFacts>();
  std::string differences;
  for (const auto& [name, value] : own) {
    const auto found = theirs.find(name);
    if (found == theirs.end() || found->second != value)
      differences +=
          fmt::format("{}{} is '{}', and '{}' on rank 0", differences.empty() ? "" : "; ", name,
                      value, found == theirs.end() ? "missing" : found->second);
  }
  EVOMOE_CHECK(differences.empty(), "{} differs from rank 0: {}; start all with the same",
               rank_words(place), differences);
  for (int64_t rank = 0; rank < place.size; ++rank) {
    try {
      store.wait({key(rank)});
    } catch (const std::exception& error) {
      fail("{}: rank {} did not come ({}); are all {} processes started, with ranks 0 to {}?",
           rank_words(place), rank, reason(error), place.size, place.size - 1);
    }
  }
}

}  // namespace

bool has_process_groups() { return true; }

std::unique_ptr<Communicator> join_ranks(const RankPlace& place, const RankFacts& facts,
                                         milliseconds timeout) {
  if (place.size == 1) return std::make_unique<SelfCommunicator>();
  // c10d writes each failure with a trace of its stack; all of them are errors here.
  FLAGS_caffe2_log_level = c10::GLOG_FATAL;
  c10::intrusive_ptr<c10d::Store> store;
  try {
    store = open_store(place, timeout);
    store->setTimeout(timeout);
  } catch (const std::exception& error) {
    fail("{} cannot meet the others at {}: {}. {}", rank_words(place), place.init_method,
         reason(error),
         place.rank == 0 ? "Is the port free, and the host this one?"
                         : "Is rank 0 running, and the address right?");
  }
  meet(*store, place, facts);
  try {
    return std::make_unique<GlooCommunicator>(place, store, timeout);
  } catch (const std::exception& error) {
    fail("{} cannot connect to the other ranks: {}", rank_words(place), reason(error));
  }
}

#else

bool has_process_groups() { return false; }

std::unique_ptr<Communicator> join_ranks(const RankPlace& place, const RankFacts&,
                                         std::chrono::milliseconds) {
  if (place.size == 1) return std::make_unique<SelfCommunicator>();
  fail_usage(
      "{} processes: this program was built without Gloo, so it can run as one process only. "
      "Install Gloo's headers (apt-get install libgloo-dev) and build it again; the message of "
      "CMake's configuration says what is missing",
      place.size);
}

#endif

}  // namespace evomoe
