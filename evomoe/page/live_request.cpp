#include "evomoe/page/live_request.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace evomoe {
namespace {

/// The name of a Host header, without its port: [::1]:80 is ::1.
std::string without_port(const std::string& host) {
  if (host.starts_with("[")) return host.substr(1, host.find(']') - 1);
  return host.substr(0, host.find(':'));
}

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

/// In a time that does not tell how much of it is right.
bool same_token(const std::string& given, const std::string& token) {
  if (given.size() != token.size()) return false;
  unsigned different = 0;
  for (size_t i = 0; i < token.size(); ++i)
    different |= static_cast<unsigned char>(given[i]) ^ static_cast<unsigned char>(token[i]);
  return different == 0;
}

}  // namespace

bool is_address(const std::string& text) {
  in6_addr space{};
  return inet_pton(AF_INET, text.c_str(), &space) == 1 ||
         inet_pton(AF_INET6, text.c_str(), &space) == 1;
}

bool is_loopback(const std::string& address) {
  in_addr four{};
  if (inet_pton(AF_INET, address.c_str(), &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
  return address == "::1";
}

std::string refusal(const LiveRequest& request, const LiveGuard& guard) {
  const auto name = lower_case(without_port(request.host));
  const bool of_all = !guard.token.empty();
  const bool known = name == "localhost" || is_loopback(name) ||
                     (of_all && (is_address(name) || name == lower_case(guard.machine_name)));
  if (!known) {
    return fmt::format(
        "the request is for the host '{}', which is no name of this server: use the address that "
        "evomoe printed",
        request.host);
  }
  if (!request.origin.empty() && lower_case(request.origin) != "http://" + lower_case(request.host))
    return fmt::format("the request comes from a page of {}, not from this server's own",
                       request.origin);
  if (of_all && !same_token(request.token, guard.token))
    return "the address lacks the right token: use the one that evomoe printed, with ?token=...";
  return "";
}

}  // namespace evomoe
