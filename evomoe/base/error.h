#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace evomoe {

/// Something failed while running; the message says what was wrong, where, and what to do. The
/// program exits with 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The user asked for something that cannot be done (an unknown flag, an impossible combination).
/// Exit code 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// Throws Error with a formatted message.
template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws UsageError with a formatted message.
template <typename... Args>
[[noreturn]] void fail_usage(fmt::format_string<Args...> format, Args&&... args) {
  throw UsageError(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace evomoe

/// Throws evomoe::Error with a formatted sentence unless `condition` holds.
#define EVOMOE_CHECK(condition, ...)               \
  do {                                             \
    if (!(condition)) ::evomoe::fail(__VA_ARGS__); \
  } while (false)
