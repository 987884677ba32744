#include "evomoe/base/log.h"

#include <fmt/chrono.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <ctime>
#include <memory>
#include <mutex>
#include <set>

namespace evomoe {
namespace {

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> made = [] {
    auto logger = std::make_shared<spdlog::logger>(
        "evomoe", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    logger->set_pattern("%Y-%m-%d %H:%M:%S | %l | %v");
    if (const char* level = std::getenv("EVOMOE_LOG_LEVEL"))
      logger->set_level(spdlog::level::from_str(level));
    return logger;
  }();
  return *made;
}

}  // namespace

void Log::say_info(const std::string& text) const { logger().info(text); }

void Log::say_warning(const std::string& text) const { logger().warn(text); }

void Log::say_error(const std::string& text) const { logger().error(text); }

void Log::show_errors_only() const { logger().set_level(spdlog::level::err); }

const Log& log() {
  static const Log only;
  return only;
}

void warn_once(const std::string& text) {
  static std::mutex mutex;
  static std::set<std::string> said;
  const std::lock_guard lock(mutex);
  if (said.insert(text).second) log().warn("{}", text);
}

std::string timestamp() {
  return fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::localtime(std::time(nullptr)));
}

}  // namespace evomoe
