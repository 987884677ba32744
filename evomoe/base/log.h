#pragma once

#include <spdlog/spdlog.h>

#include <string>

namespace evomoe {

/// Messages for a person, on stderr: `2026-01-31 12:00:00 | INFO | text`. Results go to stdout and
/// never through here.
spdlog::logger& log();

/// A warning that is said once, however often what it warns of is come across.
void warn_once(const std::string& text);

/// The present time as those messages begin with it, "2026-01-31 12:00:00": for results that are
/// printed as a log line.
std::string timestamp();

}  // namespace evomoe
