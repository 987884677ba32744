#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

namespace evomoe {

/// Messages for a person, on stderr: `2026-01-31 12:00:00 | INFO | text`. Results go to stdout and
/// never through here.
class Log {
 public:
  template <typename... Args>
  void info(fmt::format_string<Args...> format, Args&&... args) const {
    say_info(fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void warn(fmt::format_string<Args...> format, Args&&... args) const {
    say_warning(fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void error(fmt::format_string<Args...> format, Args&&... args) const {
    say_error(fmt::format(format, std::forward<Args>(args)...));
  }

  /// From now on, no other messages than errors.
  void show_errors_only() const;

 private:
  void say_info(const std::string& text) const;
  void say_warning(const std::string& text) const;
  void say_error(const std::string& text) const;
};

/// The log of this process. EVOMOE_LOG_LEVEL in its environment is spdlog's name of the least
/// level that is shown.
const Log& log();

/// A warning that is said once, however often what it warns of is come across.
void warn_once(const std::string& text);

/// The present time as those messages begin with it, "2026-01-31 12:00:00": for results that are
/// printed as a log line.
std::string timestamp();

}  // namespace evomoe
