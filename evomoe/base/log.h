#pragma once

#include <spdlog/spdlog.h>

namespace evomoe {

/// Messages for a person, on stderr: `2026-01-31 12:00:00 | INFO | text`. Results go to stdout and
/// never through here.
spdlog::logger& log();

/// One of trace, debug, info, warn, error, off.
void set_log_level(const std::string& level);

}  // namespace evomoe
