#include "evomoe/parallel/process_group.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "evomoe/base/error.h"

#ifdef EVOMOE_HAS_GLOO
#include <c10/util/Flags.h>
#include <c10/util/Logging.h>

#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
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

/// Shape and type.
std::string sizes_text(const torch::Tensor& tensor) {
  return fmt::format("{} {}", c10::str(tensor.sizes()), c10::toString(tensor.scalar_type()));
}

/// Runs a part of an operation of c10d. `what`: the operation and its sizes.
template <typename Run>
auto named(const RankPlace& place, milliseconds timeout, const std::string& what, const Run& run) {
  try {
    return run();
  } catch (const std::exception& error) {
    fail(
        "{}: {} failed: {}. Another process of the run has ended (its own message says why), or "
        "did not answer for {} s (--distributed-timeout)",
        rank_words(place), what, reason(error), timeout.count() / 1000);
  }
}

class GlooOperation final : public PendingOperation {
 public:
  GlooOperation(const RankPlace& place, milliseconds timeout, std::string what,
                c10::intrusive_ptr<c10d::Work> work)
      : place_(place), timeout_(timeout), what_(std::move(what)), work_(std::move(work)) {}
  void wait() override {
    named(place_, timeout_, what_, [&] { work_->wait(); });
  }
  bool is_over() override { return work_->isCompleted(); }

 private:
  const RankPlace& place_;
  milliseconds timeout_;
  std::string what_;
  c10::intrusive_ptr<c10d::Work> work_;
};

class GlooCommunicator final : public Communicator {
 public:
  /// `members`: the ranks of the run among which it is; rank() is the place of this one.
  GlooCommunicator(RankPlace place, std::vector<int> members, c10::intrusive_ptr<c10d::Store> store,
                   milliseconds timeout)
      : place_(std::move(place)),
        members_(std::move(members)),
        store_(std::move(store)),
        timeout_(timeout) {
    const auto own = std::ranges::find(members_, static_cast<int>(place_.rank));
    EVOMOE_CHECK(own != members_.end(), "{} is not among the ranks of its own group",
                 rank_words(place_));
    rank_ = static_cast<int>(own - members_.begin());
    auto options = c10d::ProcessGroupGloo::Options::create(timeout);
    options->devices.push_back(device());
    options->threads = 1;
    group_ = c10::make_intrusive<c10d::ProcessGroupGloo>(
        c10::make_intrusive<c10d::PrefixStore>(fmt::format("ranks {}", fmt::join(members_, " ")),
                                               store_),
        rank(), size(), std::move(options));
  }

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_.size()); }

  std::unique_ptr<PendingOperation> start_all_reduce_sum(torch::Tensor tensor) override {
    return start("the sum of " + sizes_text(tensor), [&] {
      std::vector<at::Tensor> tensors = {tensor};
      return group_->allreduce(tensors);
    });
  }

  std::unique_ptr<PendingOperation> start_all_gather(torch::Tensor whole,
                                                     torch::Tensor part) override {
    return start("the gathering of " + sizes_text(part),
                 [&] { return group_->_allgather_base(whole, part); });
  }

  std::unique_ptr<PendingOperation> start_reduce_scatter_sum(torch::Tensor part,
                                                             torch::Tensor whole) override {
    return start("the divided sum of " + sizes_text(whole),
                 [&] { return group_->_reduce_scatter_base(part, whole); });
  }

  torch::Tensor all_to_all(const torch::Tensor& rows, const std::vector<int64_t>& sent_P,
                           const std::vector<int64_t>& received_P) override {
    const torch::NoGradGuard no_grad;
    auto sizes = rows.sizes().vec();
    sizes.at(0) = std::reduce(received_P.begin(), received_P.end());
    auto received = torch::empty(sizes, rows.options().requires_grad(false));
    auto sent = rows.contiguous();
    start(fmt::format("the exchange of {} rows for {} of {}", rows.size(0), sizes[0],
                      sizes_text(rows)),
          [&] {
            auto to = received_P, from = sent_P;
            return group_->alltoall_base(received, sent, to, from);
          })
        ->wait();
    return received;
  }

  std::shared_ptr<Communicator> split(const std::vector<int>& members) override {
    if (members == std::vector<int>{rank()}) return std::make_shared<SelfCommunicator>();
    std::vector<int> of_run;
    for (const int member : members) of_run.push_back(members_.at(static_cast<size_t>(member)));
    // Each split has keys of its own, in the order of the calls.
    const auto store =
        c10::make_intrusive<c10d::PrefixStore>(fmt::format("split {}", splits_++), store_);
    return named(
        place_, timeout_,
        fmt::format("meeting ranks {} apart from the others", fmt::join(of_run, ", ")),
        [&] { return std::make_shared<GlooCommunicator>(place_, of_run, store, timeout_); });
  }

 private:
  template <typename Start>
  std::unique_ptr<PendingOperation> start(std::string what, const Start& start_work) {
    what += size() == place_.size ? " over all ranks"
                                  : fmt::format(" over ranks {}", fmt::join(members_, ", "));
    auto work = named(place_, timeout_, what, start_work);
    return std::make_unique<GlooOperation>(place_, timeout_, std::move(what), std::move(work));
  }

  /// Of processes that are all on this machine the loopback: they need no network.
  std::shared_ptr<gloo::transport::Device> device() const {
    return place_.local_size == place_.size
               ? c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")
               : c10d::ProcessGroupGloo::createDefaultDevice();
  }

  RankPlace place_;
  std::vector<int> members_;
  c10::intrusive_ptr<c10d::Store> store_;
  milliseconds timeout_;
  int rank_ = 0;
  int splits_ = 0;
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

std::shared_ptr<Communicator> join_ranks(const RankPlace& place, const RankFacts& facts,
                                         milliseconds timeout) {
  if (place.size == 1) return std::make_shared<SelfCommunicator>();
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
    std::vector<int> everyone(static_cast<size_t>(place.size));
    std::iota(everyone.begin(), everyone.end(), 0);
    return std::make_shared<GlooCommunicator>(place, everyone, store, timeout);
  } catch (const std::exception& error) {
    fail("{} cannot connect to the other ranks: {}", rank_words(place), reason(error));
  }
}

#else

bool has_process_groups() { return false; }

std::shared_ptr<Communicator> join_ranks(const RankPlace& place, const RankFacts&,
                                         std::chrono::milliseconds) {
  if (place.size == 1) return std::make_shared<SelfCommunicator>();
  fail_usage(
      "{} processes: this program was built without Gloo, so it can run as one process only. "
      "Install Gloo's headers (apt-get install libgloo-dev) and build it again; the message of "
      "CMake's configuration says what is missing",
      place.size);
}

#endif

}  // namespace evomoe
