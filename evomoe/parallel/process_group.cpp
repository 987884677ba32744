#include "evomoe/parallel/process_group.h"

#include <fmt/ranges.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"
#include "evomoe/config/option_table.h"

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

RankFacts facts_of(const OptionTable& table) {
  RankFacts facts = {{"the program's version", EVOMOE_VERSION}};
  for (const auto& option : table.options()) {
    if (!option->is_of_each_rank()) facts["--" + option->name()] = json_text(option->value());
  }
  return facts;
}

#ifdef EVOMOE_HAS_GLOO
namespace {

using std::chrono::milliseconds;

/// The first line: c10d's errors end with a trace of the stack; without Gloo's advice.
std::string reason(const std::exception& error) {
  std::string text = error.what();
  text = text.substr(0, text.find('\n'));
  return text.substr(0, text.find(". This is typically caused by"));
}

std::string rank_words(const RankPlace& place) {
  return fmt::format("rank {} of {}", place.rank, place.size);
}

/// Shape and type.
std::string sizes_text(const torch::Tensor& tensor) {
  return fmt::format("{} {}", c10::str(tensor.sizes()), c10::toString(tensor.scalar_type()));
}

using Store = c10::intrusive_ptr<c10d::Store>;

std::vector<uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

constexpr const char* kReasonKey = "reason";        ///< why a rank has ended
constexpr const char* kReasonRead = "reason read";  ///< how many of the others know it

/// The run that a process has joined.
class JoinedRun {
 public:
  JoinedRun(RankPlace place, Store store, milliseconds timeout)
      : place_(std::move(place)), store_(std::move(store)), timeout_(timeout) {}

  const RankPlace& place() const { return place_; }
  const Store& store() const { return store_; }
  milliseconds timeout() const { return timeout_; }
  int64_t bytes_sent() const { return bytes_sent_; }
  void count_sent(int64_t bytes) { bytes_sent_ += bytes; }

  /// Runs a part of an operation of c10d. `what`: the operation and its sizes.
  template <typename Run>
  auto named(const std::string& what, const Run& run) {
    try {
      return run();
    } catch (const std::exception& error) {
      const auto& told = reason_of_others();
      if (!told.empty())
        throw LostRanksError(fmt::format("{}: {} failed, as {}", rank_words(place_), what, told));
      throw LostRanksError(fmt::format(
          "{}: {} failed: {}. Another process of the run has ended (its own message says why), or "
          "did not answer for {} s (--distributed-timeout)",
          rank_words(place_), what, reason(error), timeout_.count() / 1000));
    }
  }

  /// What another rank has said before it ended; nothing where it could not say it.
  const std::string& reason_of_others() {
    constexpr milliseconds kPatience{2000};  // it says so when its operations have ended
    const std::scoped_lock lock(mutex_);
    if (reason_of_others_) return *reason_of_others_;
    try {
      store_->wait({kReasonKey}, kPatience);
      const auto told = store_->get(kReasonKey);
      store_->add(kReasonRead, 1);
      reason_of_others_.emplace(told.begin(), told.end());
    } catch (const std::exception&) {
      reason_of_others_.emplace();
    }
    return *reason_of_others_;
  }

  void tell_others(const std::string& reason) {
    try {
      store_->compareSet(kReasonKey, std::vector<uint8_t>(),
                         bytes_of(fmt::format("rank {} ended: {}", place_.rank, reason)));
      // What ranks read goes with the process that listens. Another one reads it when its update
      // comes to an operation with the others.
      constexpr milliseconds kStep{20}, kPatience{30'000};
      const bool listens =
          place_.rank == 0 && !place_.launcher_listens && place_.init_method.starts_with("tcp://");
      for (int i = 0;
           listens && i < kPatience / kStep && store_->add(kReasonRead, 0) < place_.size - 1; ++i)
        std::this_thread::sleep_for(kStep);
    } catch (const std::exception&) {  // the others are gone too
    }
  }

 private:
  RankPlace place_;
  Store store_;
  milliseconds timeout_;
  std::mutex mutex_;
  std::optional<std::string> reason_of_others_;
  std::atomic<int64_t> bytes_sent_ = 0;
};

/// The last one that this process has joined: what tell_other_ranks() needs when the Communicator
/// is gone.
std::mutex last_run_mutex;
std::shared_ptr<JoinedRun> last_run;

/// Puts another one in its place, and returns it.
std::shared_ptr<JoinedRun> exchange_last_run(std::shared_ptr<JoinedRun> by) {
  const std::scoped_lock lock(last_run_mutex);
  return std::exchange(last_run, std::move(by));
}

class GlooOperation final : public PendingOperation {
 public:
  GlooOperation(std::shared_ptr<JoinedRun> run, std::string what,
                c10::intrusive_ptr<c10d::Work> work)
      : run_(std::move(run)), what_(std::move(what)), work_(std::move(work)) {}
  void wait() override {
    run_->named(what_, [&] { work_->wait(); });
  }
  bool is_over() override { return work_->isCompleted(); }

 private:
  std::shared_ptr<JoinedRun> run_;
  std::string what_;
  c10::intrusive_ptr<c10d::Work> work_;
};

/// An exchange whose results are added up when it is over.
class SumOfExchange final : public PendingOperation {
 public:
  SumOfExchange(std::unique_ptr<PendingOperation> exchange, torch::Tensor received_PN,
                torch::Tensor sum_N)
      : exchange_(std::move(exchange)),
        received_PN_(std::move(received_PN)),
        sum_N_(std::move(sum_N)) {}
  void wait() override {
    exchange_->wait();
    const torch::NoGradGuard no_grad;
    torch::sum_out(sum_N_, received_PN_, /*dim=*/0);
  }
  bool is_over() override { return exchange_->is_over(); }

 private:
  std::unique_ptr<PendingOperation> exchange_;
  torch::Tensor received_PN_, sum_N_;
};

/// The address of this machine that others reach it at, when it talks with rank 0 at `host`; empty
/// where that is not known.
std::string address_towards(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), "9", &hints, &found) != 0) return "";
  std::array<char, NI_MAXHOST> address{};
  const int descriptor = socket(found->ai_family, SOCK_DGRAM, 0);
  sockaddr_storage own{};
  socklen_t size = sizeof(own);
  auto* const any = reinterpret_cast<sockaddr*>(&own);
  // No packet is sent: the kernel only chooses the way.
  const bool known =
      descriptor >= 0 && connect(descriptor, found->ai_addr, found->ai_addrlen) == 0 &&
      getsockname(descriptor, any, &size) == 0 &&
      getnameinfo(any, size, address.data(), address.size(), nullptr, 0, NI_NUMERICHOST) == 0;
  if (descriptor >= 0) close(descriptor);
  freeaddrinfo(found);
  const std::string text = known ? address.data() : "";
  return text.starts_with("127.") || text == "::1" ? "" : text;
}

std::shared_ptr<gloo::transport::Device> device_of(const RankPlace& place) {
  using c10d::ProcessGroupGloo;
  if (const auto interface = process_environment("GLOO_SOCKET_IFNAME"))  // as for PyTorch
    return ProcessGroupGloo::createDeviceForInterface(*interface);
  // Of processes that are all on this machine the loopback: they need no network.
  if (place.local_size == place.size) return ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
  if (place.init_method.starts_with("tcp://")) {
    const auto host = place.init_method.substr(6, place.init_method.rfind(':') - 6);
    if (const auto address = address_towards(host); !address.empty())
      return ProcessGroupGloo::createDeviceForHostname(address);
  }
  return ProcessGroupGloo::createDefaultDevice();
}

class GlooCommunicator final : public Communicator {
 public:
  /// `members`: the ranks of the run among which it is; rank() is the place of this one. They meet
  /// in `store`.
  GlooCommunicator(std::shared_ptr<JoinedRun> run, std::vector<int> members, Store store)
      : run_(std::move(run)), members_(std::move(members)), store_(std::move(store)) {
    const auto own = std::ranges::find(members_, static_cast<int>(run_->place().rank));
    EVOMOE_CHECK(own != members_.end(), "{} is not among the ranks of its own group",
                 rank_words(run_->place()));
    rank_ = static_cast<int>(own - members_.begin());
    auto options = c10d::ProcessGroupGloo::Options::create(run_->timeout());
    options->devices.push_back(device_of(run_->place()));
    options->threads = 1;
    group_ = c10::make_intrusive<c10d::ProcessGroupGloo>(
        c10::make_intrusive<c10d::PrefixStore>(fmt::format("ranks {}", fmt::join(members_, " ")),
                                               store_),
        rank(), size(), std::move(options));
  }

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_.size()); }
  int64_t bytes_sent() const override { return run_->bytes_sent(); }

  std::unique_ptr<PendingOperation> start_all_reduce_sum(torch::Tensor tensor) override {
    count_ring(2 * tensor.nbytes());
    return start("the sum of " + sizes_text(tensor), [&] {
      std::vector<at::Tensor> tensors = {tensor};
      return group_->allreduce(tensors);
    });
  }

  std::unique_ptr<PendingOperation> start_all_gather(torch::Tensor whole,
                                                     torch::Tensor part) override {
    count_ring(whole.nbytes());
    return start("the gathering of " + sizes_text(part),
                 [&] { return group_->_allgather_base(whole, part); });
  }

  std::unique_ptr<PendingOperation> start_reduce_scatter_sum(torch::Tensor part,
                                                             torch::Tensor whole) override {
    // c10d's own, with Gloo, is an all-reduce and sends twice as much.
    count_ring(whole.nbytes());
    auto received_PN = torch::empty({size(), part.numel()}, whole.options().requires_grad(false));
    auto exchange = start("the divided sum of " + sizes_text(whole), [&] {
      auto received = received_PN.view(-1);
      std::vector<int64_t> equal;
      return group_->alltoall_base(received, whole, equal, equal);
    });
    return std::make_unique<SumOfExchange>(std::move(exchange), std::move(received_PN),
                                           std::move(part));
  }

  std::unique_ptr<PendingOperation> start_all_to_all(torch::Tensor received, torch::Tensor rows,
                                                     const std::vector<int64_t>& sent_P,
                                                     const std::vector<int64_t>& received_P,
                                                     const std::string& what) override {
    if (const auto all = rows.size(0); all > 0) {
      const auto others = all - sent_P.at(static_cast<size_t>(rank()));
      run_->count_sent(static_cast<int64_t>(rows.nbytes()) / all * others);
    }
    return start(
        fmt::format("the exchange of {}, {} for {},", what, sizes_text(rows), received.size(0)),
        [&] {
          auto to = received_P, from = sent_P;
          return group_->alltoall_base(received, rows, to, from);
        });
  }

  std::shared_ptr<Communicator> split(const std::vector<int>& members) override {
    const auto number = splits_++;
    if (members == std::vector<int>{rank()}) return std::make_shared<SelfCommunicator>();
    std::vector<int> of_run;
    for (const int member : members) of_run.push_back(members_.at(static_cast<size_t>(member)));
    // Each split has keys of its own, in the order of the calls.
    const auto store =
        c10::make_intrusive<c10d::PrefixStore>(fmt::format("split {}", number), store_);
    return run_->named(
        fmt::format("meeting ranks {} apart from the others", fmt::join(of_run, ", ")),
        [&] { return std::make_shared<GlooCommunicator>(run_, of_run, store); });
  }

 private:
  /// Of `bytes` that go once round the ring of these ranks.
  void count_ring(size_t bytes) {
    run_->count_sent(static_cast<int64_t>(bytes) * (size() - 1) / size());
  }

  template <typename Start>
  std::unique_ptr<PendingOperation> start(std::string what, const Start& start_work) {
    what += size() == run_->place().size ? " over all ranks"
                                         : fmt::format(" over ranks {}", fmt::join(members_, ", "));
    auto work = run_->named(what, start_work);
    return std::make_unique<GlooOperation>(run_, std::move(what), std::move(work));
  }

  std::shared_ptr<JoinedRun> run_;
  std::vector<int> members_;
  Store store_;
  int rank_ = 0;
  int splits_ = 0;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
};

/// Ends the process when something in it does not come back in time, although every part has a
/// timeout of its own: c10d waits for the lock of a FileStore as long as its holder hangs.
class LastResort {
 public:
  LastResort(milliseconds patience, std::string message)
      : thread_([this, patience, message = std::move(message)] {
          std::unique_lock lock(mutex_);
          if (over_.wait_for(lock, patience, [this] { return is_over_; })) return;
          fmt::print(stderr, "evomoe: {}\n", message);
          std::fflush(stderr);
          _exit(kLostRanksExit);
        }) {}
  ~LastResort() {
    {
      const std::scoped_lock lock(mutex_);
      is_over_ = true;
    }
    over_.notify_one();
    thread_.join();
  }
  LastResort(const LastResort&) = delete;
  LastResort& operator=(const LastResort&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable over_;
  bool is_over_ = false;
  std::thread thread_;
};

Store open_store(const RankPlace& place, milliseconds timeout) {
  const auto& method = place.init_method;
  Store store;
  if (method.starts_with("file://")) {
    store = c10::make_intrusive<c10d::FileStore>(method.substr(7), static_cast<int>(place.size));
  } else {
    const auto colon = method.rfind(':');
    c10d::TCPStoreOptions options;
    options.port = static_cast<uint16_t>(std::stoi(method.substr(colon + 1)));
    options.isServer = place.rank == 0 && !place.launcher_listens;
    options.numWorkers = static_cast<size_t>(place.size);
    options.waitWorkers = false;  // below, where it can be said who is missing
    options.timeout = timeout;
    store = c10::make_intrusive<c10d::TCPStore>(method.substr(6, colon - 6), options);
  }
  store->setTimeout(timeout);
  if (!place.launcher_listens) return store;
  return c10::make_intrusive<c10d::PrefixStore>(fmt::format("evomoe {}", place.restarts), store);
}

constexpr const char* kCompleteKey = "complete";  ///< all ranks have come

/// Takes the place of this rank, once. One that tries again, `token` is its name, keeps it.
void take_place(c10d::Store& store, const RankPlace& place, const std::string& token) {
  const auto holder = store.compareSet(fmt::format("holder of rank {}", place.rank),
                                       std::vector<uint8_t>(), bytes_of(token));
  EVOMOE_CHECK(holder == bytes_of(token),
               "two processes are rank {} at {}: each needs a --distributed-rank of its own",
               place.rank, place.init_method);
}

std::string difference_text(const RankFacts& own, const RankFacts& theirs) {
  std::string differences;
  for (const auto& [name, value] : own) {
    const auto found = theirs.find(name);
    if (found == theirs.end() || found->second != value)
      differences +=
          fmt::format("{}{} is '{}', and '{}' on rank 0", differences.empty() ? "" : "; ", name,
                      value, found == theirs.end() ? "missing" : found->second);
  }
  return differences;
}

/// Waits for all ranks and compares what they say of themselves with what rank 0 says.
void meet(c10d::Store& store, const RankPlace& place, const RankFacts& facts,
          const std::string& token) {
  const auto key = [](int64_t rank) { return fmt::format("facts of rank {}", rank); };
  take_place(store, place, token);
  auto own = facts;
  own["--distributed-world-size"] = std::to_string(place.size);
  const auto own_text = bytes_of(json_text(nlohmann::json(own)));
  if (place.rank == 0) store.set(key(0), own_text);
  const auto first = store.get(key(0));
  const auto differences =
      difference_text(own, nlohmann::json::parse(first.begin(), first.end()).get<RankFacts>());
  if (!differences.empty()) {
    const auto text = fmt::format("{} differs from rank 0: {}; start all with the same",
                                  rank_words(place), differences);
    // Those that wait for it say so too.
    store.set(kReasonKey, bytes_of(text));
    store.set(key(place.rank), bytes_of("null"));
    throw Error(text);
  }
  store.set(key(place.rank), own_text);
  for (int64_t rank = 0; rank < place.size; ++rank) {
    try {
      store.wait({key(rank)});
    } catch (const std::exception& error) {
      throw LostRanksError(
          fmt::format("{}: rank {} did not come ({}); are all {} processes started, with ranks 0 "
                      "to {}?",
                      rank_words(place), rank, reason(error), place.size, place.size - 1));
    }
    if (store.get(key(rank)) == bytes_of("null")) {
      const auto told = store.get(kReasonKey);
      throw Error(std::string(told.begin(), told.end()));
    }
  }
  store.set(kCompleteKey, bytes_of("yes"));
}

/// Opens the store of the run and meets the others there. A rank but the first tries again while
/// rank 0 of an earlier start still listens at the address: it has not ended yet.
Store open_and_meet(const RankPlace& place, const RankFacts& facts, milliseconds timeout) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + timeout;
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  const auto token =
      fmt::format("{} {} {}", host.data(), getpid(), Clock::now().time_since_epoch().count());
  const bool serves = place.rank == 0 && !place.launcher_listens;
  constexpr milliseconds kShortest{1000}, kStep{100};
  const bool tries_again =
      !serves && !place.launcher_listens && place.init_method.starts_with("tcp://");
  while (true) {
    Store store;
    try {
      const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now());
      store = open_store(place, std::max(left, kShortest));
    } catch (const std::exception& error) {
      const auto text = fmt::format("{} cannot meet the others at {}: {}. {}", rank_words(place),
                                    place.init_method, reason(error),
                                    serves ? "Is the port free, and the host this one?"
                                           : "Is rank 0 running, and the address right?");
      if (serves) throw Error(text);
      throw LostRanksError(text);
    }
    try {
      if (!store->check({kCompleteKey})) {
        meet(*store, place, facts, token);
        store->setTimeout(timeout);
        return store;
      }
      EVOMOE_CHECK(tries_again && Clock::now() < end,
                   "{}: the {} processes that met at {} are complete; {}", rank_words(place),
                   place.size, place.init_method,
                   place.init_method.starts_with("file://")
                       ? "the file must not exist before: remove it, or name another one"
                       : "is another process rank " + std::to_string(place.rank) + " too?");
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      if (!tries_again || Clock::now() >= end) {
        throw LostRanksError(fmt::format("{} cannot meet the others at {}: {}", rank_words(place),
                                         place.init_method, reason(error)));
      }
    }
    std::this_thread::sleep_for(kStep);
  }
}

}  // namespace

bool has_process_groups() { return true; }

std::shared_ptr<Communicator> join_ranks(const RankPlace& place, const RankFacts& facts,
                                         milliseconds timeout) {
  if (place.size == 1) return std::make_shared<SelfCommunicator>();
  // c10d writes each failure with a trace of its stack; all of them are errors here.
  FLAGS_caffe2_log_level = c10::GLOG_FATAL;
  constexpr milliseconds kGrace{5000};
  const LastResort last_resort(
      2 * timeout + kGrace,
      fmt::format("{} cannot meet the others at {}: one of them hangs, and keeps the rest waiting",
                  rank_words(place), place.init_method));
  const auto run =
      std::make_shared<JoinedRun>(place, open_and_meet(place, facts, timeout), timeout);
  exchange_last_run(run);
  std::vector<int> everyone(static_cast<size_t>(place.size));
  std::iota(everyone.begin(), everyone.end(), 0);
  return run->named("the connection to the other ranks", [&] {
    return std::make_shared<GlooCommunicator>(run, everyone, run->store());
  });
}

void tell_other_ranks(const std::string& reason) {
  if (const auto run = exchange_last_run(nullptr)) run->tell_others(reason);
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

void tell_other_ranks(const std::string&) {}

#endif

}  // namespace evomoe
