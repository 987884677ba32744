#pragma once

#include <string>

/// Who may read a live page.
namespace evomoe {

/// 127.0.0.1 and its like: this machine alone.
bool is_loopback(const std::string& address);

/// Is it an address by number, IPv4 or IPv6?
bool is_address(const std::string& text);

/// What a request must have.
struct LiveGuard {
  std::string token;  ///< of the URL; empty: none is needed
  std::string
      machine_name;  ///< beside addresses by number and `localhost`, where a token is needed
};

/// The parts of a request that are checked; what it does not have is empty.
struct LiveRequest {
  std::string host, origin, token;
};

/// Why the request is refused; empty: it is not.
std::string refusal(const LiveRequest& request, const LiveGuard& guard);

}  // namespace evomoe
