#include "evomoe/page/live_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "evomoe/base/error.h"
#include "evomoe/page/embedded_files.h"
#include "tests/page/made_run.h"

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;

/// A connection of a browser.
class Connection {
 public:
  explicit Connection(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval patience{30, 0};  // a server that never answers fails the test
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  }
  ~Connection() { ::close(socket_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Connection& send(const std::string& text) {
    EXPECT_EQ(::send(socket_, text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
    return *this;
  }
  /// A byte that may find the connection closed.
  void drip(char byte) {
    [[maybe_unused]] const auto sent = ::send(socket_, &byte, 1, MSG_NOSIGNAL);
  }
  Connection& get(const std::string& path, const std::string& headers = "Host: localhost\r\n") {
    return send("GET " + path + " HTTP/1.1\r\n" + headers + "Connection: close\r\n\r\n");
  }
  /// What has come until `words` are among it, or until the server closes.
  std::string until(const std::string& words) {
    char buffer[65536];
    while (words.empty() || came_.find(words) == std::string::npos) {
      const auto count = ::recv(socket_, buffer, sizeof(buffer), 0);
      EXPECT_GE(count, 0) << "the server does not answer";
      if (count <= 0) break;
      came_.append(buffer, static_cast<size_t>(count));
    }
    return came_;
  }
  std::string all() { return until(""); }

 private:
  int socket_;
  std::string came_;
};

class Live : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_live_server()) GTEST_SKIP() << "this build has no cpp-httplib (libcpp-httplib-dev)";
    if (dygraph_min_js().empty()) GTEST_SKIP() << "this build has no dygraphs (libjs-dygraphs)";
    make_run(folder_ / "a");
  }
  std::unique_ptr<LiveServer> serve(const LivePlace& place = {}) {
    auto server = std::make_unique<LiveServer>(place, "1.2.3", [this] {
      return std::make_unique<ReportPage>(
          ReportPageOptions{.folders = {(folder_ / "a").string()}, .version = "1.2.3"});
    });
    const auto url = server->url();
    port_ = std::stoi(url.substr(url.find(':', 5) + 1));
    return server;
  }
  std::string answer(const std::string& path, const std::string& headers = "Host: localhost\r\n") {
    return Connection(port_).get(path, headers).all();
  }

  testing::TemporaryFolder folder_;
  int port_ = 0;
};

TEST_F(Live, ServesThePageAndItsData) {
  const auto server = serve();
  EXPECT_EQ(server->url(), fmt::format("http://127.0.0.1:{}/", port_));
  EXPECT_THAT(answer("/"), AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("data-live=\"true\""),
                                 Not(HasSubstr("{{style}}"))));
  EXPECT_THAT(answer("/data.json"), AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("application/json"),
                                          HasSubstr("\"updates\":[10,20,30,40]")));
  EXPECT_THAT(answer("/../../etc/passwd"), StartsWith("HTTP/1.1 404"));
}

TEST_F(Live, RefusesOtherHostsOriginsAndMethods) {
  const auto server = serve();
  for (const auto* path : {"/", "/data.json", "/events", "/nothing"}) {
    EXPECT_THAT(answer(path, "Host: evil.example\r\n"), StartsWith("HTTP/1.1 403")) << path;
    EXPECT_THAT(answer(path, "Host: localhost\r\nOrigin: http://evil.example\r\n"),
                StartsWith("HTTP/1.1 403"))
        << path;
  }
  EXPECT_THAT(answer("/", "Host: evil.example\r\n"), HasSubstr("evil.example"));
  EXPECT_THAT(Connection(port_)
                  .send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: "
                        "close\r\n\r\n")
                  .all(),
              StartsWith("HTTP/1.1 405"));
}

TEST_F(Live, SendsNoPartsAndNothingBeyondTheEnd) {
  const auto server = serve();
  for (const auto* range : {"0-100000000", "99999999-999999999", "0-1", "-5"}) {
    const auto found =
        answer("/data.json", fmt::format("Host: localhost\r\nRange: bytes={}\r\n", range));
    EXPECT_THAT(found, StartsWith("HTTP/1.1 416")) << range;
    EXPECT_LT(found.size(), 1000U) << range;
  }
}

TEST_F(Live, EndsThoughAClientNeverEndsItsRequest) {
  auto server = serve();
  std::atomic<bool> ended = false;
  std::thread client([&] {
    Connection connection(port_);
    connection.send("GET / HTTP/1.1\r\n");
    while (!ended) {
      connection.drip('a');
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  server.reset();
  ended = true;
  client.join();
}

TEST_F(Live, OnAllAddressesTheTokenIsNeeded) {
  const auto server = serve({.port = 0, .address = "0.0.0.0"});
  const auto query = server->url().substr(server->url().find('?'));
  EXPECT_THAT(query, StartsWith("?token="));
  EXPECT_THAT(answer("/"), AllOf(StartsWith("HTTP/1.1 403"), HasSubstr("token")));
  EXPECT_THAT(answer("/data.json?token=0"), StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(answer("/data.json" + query), StartsWith("HTTP/1.1 200"));
}

TEST_F(Live, TellsReadersWhenTheLogGrows) {
  const auto server = serve();
  Connection reader(port_);
  reader.get("/events").until("data: 1");
  std::ofstream(folder_ / "a/log.jsonl", std::ios::app) << training_line(50);
  reader.until("event: changed\ndata: 2");
  EXPECT_THAT(answer("/data.json"), HasSubstr("[10,20,30,40,50]"));
}

TEST_F(Live, TellsOfADamagedLogAndGoesOn) {
  const auto server = serve();
  Connection reader(port_);
  reader.get("/events").until("data: 1");
  std::ofstream(folder_ / "a/log.jsonl", std::ios::app) << "{\"tag\n" << training_line(50);
  EXPECT_THAT(reader.until("event: problem"), HasSubstr("event: problem"));
  EXPECT_THAT(reader.until("log.jsonl:8"), HasSubstr("damaged"));
  EXPECT_THAT(answer("/data.json"), HasSubstr("[10,20,30,40]"));
}

TEST_F(Live, HoldsTwoHundredReadersOfWhomSomeReadNothingAndSomeVanish) {
  auto server = serve();
  std::vector<std::unique_ptr<Connection>> readers;
  for (int i = 0; i < 200; ++i) {
    readers.push_back(std::make_unique<Connection>(port_));
    readers.back()->get(i % 10 == 0 ? "/" : "/events");  // every tenth asks for the page, unread
  }
  for (size_t i = 1; i < readers.size(); i += 10)
    EXPECT_THAT(readers[i]->until("data: 1"), HasSubstr("event: changed"));
  for (size_t i = 0; i < readers.size(); i += 4) readers[i].reset();
  std::ofstream(folder_ / "a/log.jsonl", std::ios::app) << training_line(50);
  for (size_t i = 1; i < readers.size(); i += 10) {
    if (readers[i]) readers[i]->until("data: 2");
  }
  EXPECT_THAT(answer("/data.json"), HasSubstr("[10,20,30,40,50]"));
  server.reset();  // ends with readers that are still there
  EXPECT_THAT(readers[1]->all(), HasSubstr("event: end"));
}

TEST_F(Live, APortInUseAndAWrongAddressAreRefusedWithTheRemedy) {
  const auto server = serve();
  EXPECT_THAT([&] { serve({.port = port_}); },
              ThrowsMessage<Error>(AllOf(HasSubstr(std::to_string(port_)), HasSubstr("uses it"),
                                         HasSubstr("--live 0"))));
  for (const auto* address : {"localhost", "example.org", "300.1.1.1", ""})
    EXPECT_THAT([&] { serve({.address = address}); },
                ThrowsMessage<UsageError>(HasSubstr("--live-address")));
  EXPECT_THAT([&] { serve({.address = "192.0.2.1"}); },
              ThrowsMessage<Error>(HasSubstr("192.0.2.1")))
      << "none of this machine's";
}

TEST_F(Live, APageThatCannotBeMadeYetSaysSo) {
  LiveServer server({}, "1.2.3", [] { return nullptr; });
  port_ = std::stoi(server.url().substr(server.url().find(':', 5) + 1));
  EXPECT_THAT(answer("/data.json"), HasSubstr("not begun to write its log"));
}

}  // namespace
}  // namespace evomoe
