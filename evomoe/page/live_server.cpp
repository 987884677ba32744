#include "evomoe/page/live_server.h"

#include "evomoe/base/error.h"

#ifdef EVOMOE_HAS_HTTPLIB
#include <httplib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <list>
#include <mutex>
#include <random>
#include <system_error>
#include <thread>

#include "evomoe/page/live_request.h"

namespace evomoe {
namespace {

using std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr Seconds kLookAtLogs{1};
constexpr double kShareOfACore = 0.05;  ///< the most that bringing the page up to date may take
constexpr Seconds kLongestPause{30};  ///< the first reading of a long log says nothing of the next
constexpr Seconds kHeartbeat{15};     ///< an event stream without news shows that it lives
constexpr Seconds kLastAnswers{4};    ///< at the end; then connections are cut
constexpr size_t kMostConnections = 2 * LiveServer::kMostReaders;
constexpr size_t kChunk = 1 << 16;

/// Each connection has a thread, which waits most of the time; there are none without readers.
class ConnectionThreads : public httplib::TaskQueue {
 public:
  void enqueue(std::function<void()> serve) override {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return running_ < kMostConnections; });
    join_ended();
    ++running_;
    threads_.emplace_back();
    const auto at = std::prev(threads_.end());
    try {
      *at = std::thread([this, at, serve] {
        serve();
        const std::scoped_lock ends(mutex_);
        --running_;
        done_.splice(done_.end(), threads_, at);
        ended_.notify_all();
      });
    } catch (const std::system_error&) {  // there are no more threads: this one serves it
      threads_.pop_back();
      --running_;
      lock.unlock();
      serve();
    }
  }

  void shutdown() override {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return running_ == 0; });
    join_ended();
  }

 private:
  void join_ended() {
    for (auto& thread : done_) thread.join();
    done_.clear();
  }

  std::mutex mutex_;
  std::condition_variable ended_;
  size_t running_ = 0;
  std::list<std::thread> threads_, done_;
};

/// A thread of the server never takes a signal that is meant for the run, nor a core that it needs.
template <typename Function>
std::thread quiet_thread(Function function) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread([function] {
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 10);
    function();
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

std::string random_token() {
  std::random_device random;
  std::string token;
  for (int i = 0; i < 4; ++i) token += fmt::format("{:08x}", random());
  return token;
}

std::string machine_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

/// Ends what is still connected to a port of this process: a client that sends a byte now and then
/// would hold its thread for ever.
void end_connections(int port) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", ignored)) {
    const int descriptor = std::atoi(entry.path().filename().c_str());
    sockaddr_storage own{};
    socklen_t size = sizeof(own);
    if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&own), &size) != 0) continue;
    const auto at = own.ss_family == AF_INET    ? reinterpret_cast<sockaddr_in&>(own).sin_port
                    : own.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(own).sin6_port
                                                : in_port_t{0};
    if (at != 0 && ntohs(at) == port) ::shutdown(descriptor, SHUT_RDWR);
  }
}

/// SSE: an event of one line.
std::string event_text(const std::string& name, std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return fmt::format("event: {}\ndata: {}\n\n", name, text);
}

}  // namespace

bool has_live_server() { return true; }

class LiveServer::Impl {
 public:
  Impl(const LivePlace& place, std::string version,
       std::function<std::unique_ptr<ReportPage>()> make_page)
      : version_(std::move(version)), make_page_(std::move(make_page)) {
    std::signal(SIGPIPE, before_httplib_);
    page_html("{}", /*live=*/true);  // says now what this build cannot
    if (!is_address(place.address)) {
      fail_usage(
          "--live-address {}: it must be an address of this machine by number, such as 127.0.0.1 "
          "(this machine alone) or 0.0.0.0 (all that can reach it)",
          place.address);
    }
    if (!is_loopback(place.address)) guard_ = {random_token(), machine_name()};
    set_up();
    port_ = bind(place);
    const auto host =
        place.address.find(':') == std::string::npos ? place.address : "[" + place.address + "]";
    url_ = fmt::format("http://{}:{}/{}", host, port_,
                       guard_.token.empty() ? "" : "?token=" + guard_.token);
    listener_ = quiet_thread([this] {
      server_.listen_after_bind();
      listened_ = true;
    });
    watcher_ = quiet_thread([this] { watch(); });
  }

  ~Impl() {
    tell_last_news();
    {
      const std::scoped_lock lock(news_mutex_);
      stopping_ = true;
    }
    news_.notify_all();
    watcher_.join();
    // stop() before the listener runs would be forgotten.
    while (!server_.is_running() && !listened_)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    server_.stop();
    const auto patience = steady_clock::now() + kLastAnswers;
    while (!listened_) {
      if (steady_clock::now() > patience) end_connections(port_);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    listener_.join();
  }

  const std::string& url() const { return url_; }

 private:
  using Text = std::shared_ptr<const std::string>;

  int bind(const LivePlace& place) {
    // httplib's own options would let two programs share a port.
    server_.set_socket_options([](socket_t socket) {
      const int yes = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    errno = 0;
    const bool any = place.port == 0;
    const int port = any ? server_.bind_to_any_port(place.address) : static_cast<int>(place.port);
    const bool bound = any ? port > 0 : server_.bind_to_port(place.address, port);
    if (bound) return port;
    EVOMOE_CHECK(errno != EADDRNOTAVAIL, "--live-address {}: it is no address of this machine",
                 place.address);
    fail("--live {}: port {} of {} cannot be opened{}; give another port (--live 0: any free one)",
         place.port, place.port, place.address,
         errno == EADDRINUSE ? ": another program, maybe another live page, uses it"
         : errno != 0        ? fmt::format(": {}", std::strerror(errno))
                             : "");
  }

  void set_up() {
    server_.new_task_queue = [] { return new ConnectionThreads; };
    server_.set_keep_alive_timeout(2);
    server_.set_read_timeout(5);
    server_.set_write_timeout(3);  // of a reader that takes nothing; the end waits so long as well
    server_.set_payload_max_length(1024);
    server_.set_default_headers({{"X-Content-Type-Options", "nosniff"},
                                 {"Referrer-Policy", "no-referrer"},
                                 {"Cache-Control", "no-store"},
                                 {"X-Frame-Options", "DENY"},
                                 {"Cross-Origin-Resource-Policy", "same-origin"}});
    server_.set_pre_routing_handler([this](const auto& request, auto& response) {
      const auto refuse = [&](int status, const std::string& reason) {
        response.status = status;
        response.set_content("evomoe: " + reason + "\n", "text/plain; charset=utf-8");
        return httplib::Server::HandlerResponse::Handled;
      };
      if (request.method != "GET" && request.method != "HEAD")
        return refuse(405, "this server only answers GET");
      // httplib would hand on one that goes beyond the end.
      if (request.has_header("Range")) return refuse(416, "this server sends no parts");
      const auto reason = refusal({.host = request.get_header_value("Host"),
                                   .origin = request.get_header_value("Origin"),
                                   .token = request.get_param_value("token")},
                                  guard_);
      return reason.empty() ? httplib::Server::HandlerResponse::Unhandled : refuse(403, reason);
    });
    server_.Get("/", [this](const auto&, auto& response) {
      send(std::make_shared<const std::string>(page_html(*newest(), /*live=*/true)),
           "text/html; charset=utf-8", response);
    });
    server_.Get("/data.json", [this](const auto&, auto& response) {
      send(newest(), "application/json", response);
    });
    server_.Get("/events", [this](const auto&, auto& response) { tell_of_news(response); });
  }

  /// All readers share the text.
  void send(const Text& text, const std::string& type, httplib::Response& response) {
    response.set_content_provider(
        text->size(), type, [this, text](size_t offset, size_t length, httplib::DataSink& sink) {
          if (stopping_ || offset >= text->size()) return false;
          return sink.write(text->data() + offset,
                            std::min({length, kChunk, text->size() - offset}));
        });
  }

  /// At the end of a run its readers fetch the last lines of its log.
  void tell_last_news() {
    {
      const std::scoped_lock lock(news_mutex_);
      if (readers_ == 0) return;
    }
    {
      const std::scoped_lock lock(page_mutex_);
      const auto before = text_;
      bring_up_to_date();
      if (text_ == before) return;
    }
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }

  /// The data as of a moment ago.
  Text newest() {
    const std::scoped_lock lock(page_mutex_);
    if (steady_clock::now() >= next_update_) bring_up_to_date();
    return text_;
  }

  /// With page_mutex_ held.
  void bring_up_to_date() {
    const auto begin = steady_clock::now();
    std::string problem;
    bool changed = false;
    try {
      if (!page_) page_ = make_page_();
      changed = page_ && page_->update();
      if (changed || !text_) {
        text_ = std::make_shared<const std::string>(page_ ? page_json(page_->json())
                                                          : page_json(nothing_yet()));
      }
    } catch (const std::exception& error) {
      problem = error.what();
      if (!text_) text_ = std::make_shared<const std::string>(page_json(nothing_yet()));
    }
    const auto now = steady_clock::now();
    const auto pause =
        std::clamp<Seconds>(Seconds(now - begin) / kShareOfACore, kLookAtLogs, kLongestPause);
    next_update_ = now + std::chrono::duration_cast<steady_clock::duration>(pause);
    const std::scoped_lock lock(news_mutex_);
    if (!changed && problem == problem_) return;
    problem_ = problem;
    ++version_of_data_;
    news_.notify_all();
  }

  nlohmann::ordered_json nothing_yet() const {
    nlohmann::ordered_json json;
    json["version"] = version_;
    json["made"] = "";
    json["comparison"] = {"The run has not begun to write its log yet."};
    json["differences"] = json["runs"] = nlohmann::ordered_json::array();
    return json;
  }

  /// Looks at the logs while there are readers.
  void watch() {
    std::unique_lock lock(news_mutex_);
    while (!stopping_) {
      news_.wait_for(lock, kLookAtLogs, [this] { return stopping_.load(); });
      if (stopping_ || readers_ == 0) continue;
      lock.unlock();
      newest();
      lock.lock();
    }
  }

  void tell_of_news(httplib::Response& response) {
    {
      const std::scoped_lock lock(news_mutex_);
      if (readers_ == kMostReaders) {
        response.status = 503;
        response.set_content(
            fmt::format("evomoe: {} readers are connected already\n", kMostReaders), "text/plain");
        return;
      }
      ++readers_;
    }
    response.set_chunked_content_provider(
        "text/event-stream",
        [this, last = std::make_shared<int64_t>(-1)](size_t, httplib::DataSink& sink) {
          auto& told = *last;
          std::string text;
          bool ends = false;
          {
            std::unique_lock lock(news_mutex_);
            news_.wait_for(lock, told < 0 ? Seconds(0) : kHeartbeat,
                           [&] { return stopping_ || version_of_data_ != told; });
            ends = stopping_.load();
            if (ends) {
              text = event_text("end", "");
            } else if (version_of_data_ != told) {
              text = problem_.empty() ? event_text("changed", std::to_string(version_of_data_))
                                      : event_text("problem", problem_);
            } else {
              text = ": still here\n\n";
            }
            told = version_of_data_;
          }
          if (!sink.write(text.data(), text.size())) return false;
          if (ends) sink.done();
          return true;
        },
        [this](bool) {
          const std::scoped_lock lock(news_mutex_);
          --readers_;
        });
  }

  std::string version_;
  std::function<std::unique_ptr<ReportPage>()> make_page_;
  LiveGuard guard_;
  std::string url_;
  int port_ = 0;
  /// A Server ignores SIGPIPE in the whole process. Its threads here have all signals blocked, so
  /// the run may go on to end where its own output ends.
  void (*before_httplib_)(int) = std::signal(SIGPIPE, SIG_IGN);
  httplib::Server server_;

  std::mutex page_mutex_;
  std::unique_ptr<ReportPage> page_;
  Text text_;
  steady_clock::time_point next_update_{};

  std::mutex news_mutex_;
  std::condition_variable news_;
  std::atomic<bool> stopping_ = false;
  int readers_ = 0;
  int64_t version_of_data_ = 0;
  std::string problem_;

  std::atomic<bool> listened_ = false;  ///< the listener has ended
  std::thread listener_, watcher_;
};

LiveServer::LiveServer(const LivePlace& place, std::string version,
                       std::function<std::unique_ptr<ReportPage>()> make_page)
    : impl_(std::make_unique<Impl>(place, std::move(version), std::move(make_page))) {}

LiveServer::~LiveServer() = default;

const std::string& LiveServer::url() const { return impl_->url(); }

}  // namespace evomoe

#else  // without cpp-httplib

namespace evomoe {

class LiveServer::Impl {
 public:
  std::string url;
};

bool has_live_server() { return false; }

LiveServer::LiveServer(const LivePlace&, std::string,
                       std::function<std::unique_ptr<ReportPage>()>) {
  fail(
      "this build of evomoe serves no live pages: install cpp-httplib (Debian: "
      "libcpp-httplib-dev) and build again, or write the page now and then with `evomoe report`");
}

LiveServer::~LiveServer() = default;

const std::string& LiveServer::url() const { return impl_->url; }

}  // namespace evomoe

#endif
