#pragma once

#include <spdlog/spdlog.h>

namespace evomoe {

/// Messages for a person, on stderr: `2026-01-31 12:00:00 | INFO | text`. Results go to stdout and
/// never through here.
spdlog::logger& log();

}  // namespace evomoe
