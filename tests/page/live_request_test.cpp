#include "evomoe/page/live_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace evomoe {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(LiveRequest, OnTheLoopbackAddressOnlyItsOwnNamesAreHosts) {
  const LiveGuard guard;
  for (const auto* host :
       {"127.0.0.1:8765", "localhost:8765", "LOCALHOST", "127.0.0.1", "[::1]:80"})
    EXPECT_THAT(refusal({.host = host, .origin = "", .token = ""}, guard), IsEmpty()) << host;
  for (const auto* host : {"evil.example:8765", "localhost.evil.example", "10.0.0.5:8765", "",
                           "127.0.0.1.evil.example", "[", "127.0.0.1@evil.example"})
    EXPECT_THAT(refusal({.host = host, .origin = "", .token = ""}, guard), HasSubstr("host"))
        << host;
}

TEST(LiveRequest, AnOriginMustBeTheServersOwn) {
  const LiveGuard guard;
  EXPECT_THAT(refusal({"localhost:8765", "http://localhost:8765", ""}, guard), IsEmpty());
  for (const auto* origin :
       {"http://evil.example", "null", "http://localhost:9999", "https://localhost:8765"})
    EXPECT_THAT(refusal({"localhost:8765", origin, ""}, guard), HasSubstr(origin));
}

TEST(LiveRequest, OnAnotherAddressTheTokenIsNeeded) {
  const LiveGuard guard{.token = "secret", .machine_name = "Lab3"};
  for (const auto* host : {"10.0.0.5:8765", "lab3:8765", "localhost", "[fe80::1]:8765"}) {
    EXPECT_THAT(refusal({host, "", "secret"}, guard), IsEmpty()) << host;
    for (const auto* token : {"", "secreT", "secret1", "s"})
      EXPECT_THAT(refusal({host, "", token}, guard), HasSubstr("token")) << host << token;
  }
  EXPECT_THAT(refusal({"evil.example", "", "secret"}, guard), HasSubstr("evil.example"));
}

TEST(Loopback, IsThisMachineAlone) {
  EXPECT_TRUE(is_loopback("127.0.0.1"));
  EXPECT_TRUE(is_loopback("127.1.2.3"));
  EXPECT_TRUE(is_loopback("::1"));
  EXPECT_FALSE(is_loopback("0.0.0.0"));
  EXPECT_FALSE(is_loopback("128.0.0.1"));
  EXPECT_FALSE(is_loopback("localhost.example"));
}

}  // namespace
}  // namespace evomoe
