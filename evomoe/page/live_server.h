#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "evomoe/page/report_page.h"

namespace evomoe {

/// Whether this build can serve a page (it has cpp-httplib).
bool has_live_server();

/// Where a live page is served.
struct LivePlace {
  int64_t port = 0;                   ///< 0: any free one
  std::string address = "127.0.0.1";  ///< another one than of this machine alone needs a token
};

/// Serves the page of some runs over HTTP, and tells its readers when the runs have logged more. It
/// only reads, and answers GET alone. What it does is done by threads of its own: a reader that is
/// slow, or gone, delays nobody.
///
/// Requests are checked: their Host must be an address of this machine by number, `localhost` or
/// its name, so that no web page elsewhere can reach the server through a name of its own; an
/// Origin must be the server's. On another address than the loopback one, the token of url() is
/// needed as well.
class LiveServer {
 public:
  /// Readers that are told of news at the same time; one more is refused (503).
  static constexpr int kMostReaders = 256;

  /// Begins to listen. `make_page`: the page once it can be made; null: not yet. Error, naming the
  /// port and what to do, where it is in use or the address is none of this machine.
  LiveServer(const LivePlace& place, std::string version,
             std::function<std::unique_ptr<ReportPage>()> make_page);
  /// Tells the readers that the runs have ended, and closes.
  ~LiveServer();

  /// http://127.0.0.1:8765/, with the token where there is one.
  const std::string& url() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace evomoe
